"""``sepcli ui``: a local page in the browser that separates and colorizes files."""

from __future__ import annotations

from typing import Annotated

from sepcli.cli import console
from sepcli.cli.options import panel
from sepcli.errors import UsageError

HOST = "127.0.0.1"
"""Loopback: nobody but this machine's users can reach it."""
server = panel("Server")


def open_ui(
    port: Annotated[
        int, server("Port on this machine; 0 takes any free one.", "--port", min=0, max=65535)
    ] = 7860,
    browser: Annotated[bool, server("Open the page in a browser.", "--browser/--no-browser")] = True,
    limit: Annotated[
        int, server("Largest file that can be uploaded, megabytes.", "--limit", min=1, max=10_000)
    ] = 200,
) -> None:
    """Open a page in the browser that separates recordings and images, and colorizes photographs.

    It is served to this machine alone, and connects to nothing; files are removed when it ends. It needs
    the extra ui: pip install sepcli[ui].
    """
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("gradio", "uvicorn")):
        raise UsageError("the page needs Gradio, which is not installed", "run: pip install 'sepcli[ui]'")
    console.load("torch")
    from sepcli.cli.ui_server import serve

    serve(HOST, port, browser, limit)
