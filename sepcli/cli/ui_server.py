"""The server of ``sepcli ui``: the application of Gradio beside the pages of results, for loopback alone."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import Any

from sepcli.cli import console
from sepcli.cli.ui_work import Results
from sepcli.errors import UsageError

VARIABLES = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_SSR_MODE": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Environment of Gradio, which would report its use otherwise."""
HOSTS = ["127.0.0.1", "localhost"]
"""Names that requests may use; others would let a page of a stranger talk to this server."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'self'; sandbox allow-scripts allow-downloads",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of results, beside the policy in a page."""


def serve(host: str, port: int, browser: bool, limit: int) -> None:
    """Serve until Ctrl-C; then all files are removed.

    Args:
        host: address to bind to.
        port: 0 takes a free one.
        browser: open the page.
        limit: megabytes of an uploaded file.

    Raises:
        UsageError: the port is in use.
    """
    import uvicorn

    with tempfile.TemporaryDirectory(prefix="sepcli-ui-") as name, socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise UsageError(f"--port {port} cannot be used: {error.strerror}", "choose another") from error
        app = application(Path(name), limit)
        url = f"http://{host}:{listener.getsockname()[1]}"
        console.emit(f"{url}  (Ctrl-C ends it)")
        if browser:
            threading.Timer(1.0, webbrowser.open, [url]).start()
        config = uvicorn.Config(app, log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])


def application(folder: Path, limit: int) -> Any:
    """Return the application, which keeps all its files in a folder.

    Args:
        folder: an empty one.
        limit: megabytes of an uploaded file.
    """
    os.environ.update(VARIABLES, GRADIO_TEMP_DIR=str(folder / "uploads"))
    import gradio
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import FileResponse, Response

    from sepcli.cli.ui_blocks import STYLE, blocks, theme

    results = Results(folder / "results")
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)

    def result(key: str, name: str) -> Any:
        path = results.find(key, name)
        return Response(status_code=404) if path is None else FileResponse(path, headers=HEADERS)

    app.add_api_route("/results/{key}/{name}", result, methods=["GET"])
    return gradio.mount_gradio_app(
        app,
        blocks(results),
        path="/",
        server_name=HOSTS[0],
        max_file_size=limit * 1_000_000,
        theme=theme(),
        css=STYLE,
        footer_links=[],
        show_error=True,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
    )
