"""Folders of data: which entries can be data, and a line on those that are passed over."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

CLUTTER = frozenset(
    {
        *("#recycle", "#snapshot", "@eadir", "@recycle", "@recently-snapshot", "@tmp", "~snapshot"),
        *("$recycle.bin", "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini"),
        *("__macosx", "icon\r", "lost+found"),
    }
)
"""Names, in lower case, of what storage devices, operating systems and archives leave in folders."""
UNSAID = frozenset({".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
"""Names, in lower case, of files that hold the look of a folder and are not worth a note."""
SHOWN = 5
"""Number of names in a note."""


def is_data(name: str) -> bool:
    """Whether a file or folder of this name can be data: not hidden, and not left by a device or system."""
    return not name.startswith(".") and name.casefold() not in CLUTTER


def data_entries(folder: Path) -> list[Path]:
    """Return the entries of a folder that can be data, sorted.

    Raises:
        OSError: the folder cannot be read.
    """
    return sorted(path for path in folder.iterdir() if is_data(path.name))


def find_files(root: Path, suffixes: tuple[str, ...]) -> tuple[list[Path], list[Path]]:
    """Return the files of some suffixes, in any case, in a folder and its folders; and what is passed over.

    Both are sorted by folder, then by name. Of a folder that is passed over, its files are not listed.
    """
    files: list[Path] = []
    others: list[Path] = []

    def refused(error: OSError) -> None:
        others.append(Path(error.filename))

    for folder, folders, names in os.walk(root, onerror=refused):
        entered = [name for name in folders if is_data(name) and not os.path.islink(Path(folder, name))]
        others += [Path(folder, name) for name in folders if name not in entered]
        folders[:] = entered
        for name in names:
            wanted = is_data(name) and name.lower().endswith(suffixes)
            (files if wanted else others).append(Path(folder, name))
    for paths in (files, others):
        paths.sort(key=lambda path: (str(path.parent), path.name))
    return files, others


def passed_over(folder: Path, entries: Iterable[Path]) -> tuple[str, ...]:
    """Return a line with number and names of entries of a folder that are not read; () if there are none."""
    said = [path for path in entries if path.name.casefold() not in UNSAID and path != folder]
    if not said:
        return ()
    names = [os.path.relpath(path, folder) + (os.sep if path.is_dir() else "") for path in said]
    what = "entry is" if len(names) == 1 else "entries are"
    return (f"{folder}: {len(names)} {what} passed over: {shortened(names)}",)


def shortened(names: Sequence[str]) -> str:
    """Return names in one line, cut after a few."""
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
