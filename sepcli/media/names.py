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
    """Convert the name of a track or stem from a file, a tag or a card to one path component.

    Returns:
        A name without separators or control characters, not hidden, not too long, never empty; a safe name is
        unchanged.
    """
    clean = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "_", name).strip(" ")
    clean = re.sub(r"^\.+", lambda dots: "_" * len(dots.group()), clean).rstrip(". ")
    if not clean or RESERVED.fullmatch(clean):
        clean = f"_{clean}"
    encoded = clean.encode("utf-8", "surrogateescape")
    return encoded[:MAX_BYTES].decode("utf-8", "ignore") if len(encoded) > MAX_BYTES else clean


def inside(folder: Path, relative: str | Path) -> Path:
    """Join a folder and a relative path that must stay inside it; ``.`` and ``..`` are resolved.

    Raises:
        OutputError: the path is absolute, or leaves the folder, or is the folder itself.
    """
    root = os.path.abspath(folder)
    target = os.path.abspath(os.path.join(root, relative))
    if Path(root) not in Path(target).parents:
        raise OutputError(f"{str(relative)!r} is outside {folder}", "use a name without '..'")
    return folder / os.path.relpath(target, root)


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse to write a file whose path is taken, by a folder or by a file that is not to be replaced.

    Raises:
        OutputError: it is taken.
    """
    if os.path.isdir(path) or (os.path.lexists(path) and not overwrite):
        raise OutputError(
            f"{path} exists already", "overwrite it, or choose another folder", argument="overwrite"
        )
