"""Names from the outside world as names of files inside one folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sepcli.errors import OutputError

LONGEST = 200
"""Bytes of a file name that leave room for an extension on every common file system (255 in all)."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps to itself."""


def safe_name(name: str) -> str:
    """Make one path component of any text: no separators or control characters, not hidden, not too long.

    Args:
        name: A track or stem name from a file, a tag or a card.

    Returns:
        The name, unchanged where it is harmless; never empty.
    """
    clean = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "_", name).strip(" ")
    clean = re.sub(r"^\.+", lambda dots: "_" * len(dots.group()), clean).rstrip(". ")
    if not clean or RESERVED.fullmatch(clean):
        clean = f"_{clean}"
    encoded = clean.encode("utf-8", "surrogateescape")
    return encoded[:LONGEST].decode("utf-8", "ignore") if len(encoded) > LONGEST else clean


def inside(folder: Path, relative: str | Path) -> Path:
    """Place a relative path in a folder that it must not leave.

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
        raise OutputError(f"{str(relative)!r} would be written outside {folder}", "use a name without '..'")
    return folder / os.path.relpath(target, root)
