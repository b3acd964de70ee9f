"""The shell of all pages: templates, one style, scripts, and a policy that allows what is in the page alone.

jinja2 escapes all text that comes from outside, names above all. The policy names the style and the script by
their SHA-256, so that nothing else runs, and nothing is loaded but images and audio that are in the page.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent
STYLE = "style.css"
SCRIPTS = ("players.js", "tracks.js", "images.js")
"""All scripts: each does nothing on a page that has not its elements."""


def render(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: name of a file in the folder of this module.
        values: of the template.
    """
    style = (FOLDER / STYLE).read_text("utf-8")
    script = "\n".join((FOLDER / name).read_text("utf-8") for name in SCRIPTS)
    page: str = (
        _environment()
        .get_template(template)
        .render(style=Markup(style), script=Markup(script), policy=policy(style, script), **values)
    )
    return page + "\n"


def policy(style: str, script: str) -> str:
    """Return the content security policy of a page with an inline style and an inline script."""
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def data_url(mime: str, data: bytes) -> str:
    """Return bytes as a URL."""
    return f"data:{mime};base64,{text_of(data)}"


def text_of(data: bytes) -> str:
    """Return bytes in base64."""
    return base64.b64encode(data).decode("ascii")


def _hash(text: str) -> str:
    return f"'sha256-{text_of(hashlib.sha256(text.encode()).digest())}'"


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
