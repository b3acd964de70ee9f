"""File names inside one folder, from untrusted names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sepcli.errors import OutputError

MAX_BYTES = 200
"""Maximal bytes of a file name without extension; common file systems allow 255 with it."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows reserves."""


def safe_name(name: str) -> str:
    """Convert any text to one path component without separators or control characters, not hidden, not too
    long.

    Args:
        name: A track or stem name from a file, a tag or a card.

    Returns:
        The name, unchanged if it is safe; never empty.
    """
    clean = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "_", name).strip(" ")
    clean = re.sub(r"^\.+", lambda dots: "_" * len(dots.group()), clean).rstrip(". ")
    if not clean or RESERVED.fullmatch(clean):
        clean = f"_{clean}"
    encoded = clean.encode("utf-8", "surrogateescape")
    return encoded[:MAX_BYTES].decode("utf-8", "ignore") if len(encoded) > MAX_BYTES else clean


def inside(folder: Path, relative: str | Path) -> Path:
    """Join a folder and a relative path that must stay inside it.

    Args:
        folder: The output folder.
        relative: A path, for instance from a file name template.

    Returns:
        ``folder / relative``, with ``.`` and ``..`` resolved.

    Raises:
        OutputError: The path is absolute, or leaves the folder, or is the folder itself.
    """
    root = os.path.abspath(folder)
    target = os.path.abspath(os.path.join(root, relative))
    if Path(root) not in Path(target).parents:
        raise OutputError(f"{str(relative)!r} is outside {folder}", "use a name without '..'")
    return folder / os.path.relpath(target, root)
