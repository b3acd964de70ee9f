"""Atomic writing: files are written under temporary names and renamed when all are complete."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sepcli.errors import OutputError

MORE_SPACE = "check the folder and its free space"


def temporary(path: Path) -> Path:
    """Return an unused temporary name in the folder of a file."""
    return path.with_name(f".sepcli-{os.getpid()}-{secrets.token_hex(4)}.part")


def rename_all(files: Iterable[tuple[Path, Path]]) -> None:
    """Rename files from temporary to final paths, all of them or none; files that exist are replaced.

    Raises:
        OSError: a file cannot be renamed; those renamed before are removed, unless they replaced others.
    """
    new: list[Path] = []
    try:
        for part, path in files:
            exists = path.exists()
            part.replace(path)
            new += [] if exists else [path]
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        raise


@contextmanager
def write_many() -> Iterator[Callable[[Path], Path]]:
    """Write files, all of them or none; existing files stay until all new ones are complete.

    Yields a function: the path of a file → the temporary path to write it to. The files are renamed when the
    block ends, and removed if it raises.

    Raises:
        OSError: a file cannot be renamed.
    """
    parts: dict[Path, Path] = {}

    def part_of(path: Path) -> Path:
        parts[path] = temporary(path)
        return parts[path]

    try:
        yield part_of
        rename_all((part, path) for path, part in parts.items())
    finally:
        remove(parts.values())


def remove(parts: Iterable[Path]) -> None:
    """Remove the temporary files that still exist, as far as possible."""
    for part in parts:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def make_folder(folder: Path, hint: str = MORE_SPACE, argument: str | None = None) -> None:
    """Create a folder and its parents, unless they exist.

    Raises:
        OutputError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot create the folder {folder}: {error.strerror}", hint, argument=argument
        ) from error


def write_whole(path: Path, data: bytes, hint: str = MORE_SPACE) -> None:
    """Write a file, whose folder exists, atomically: an existing file stays until the new one is complete.

    Raises:
        OutputError: the file cannot be written; its advice is ``hint``.
    """
    try:
        with write_many() as part_of, part_of(path).open("xb") as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", hint) from error


def write_text(path: Path, text: str, hint: str = MORE_SPACE) -> None:
    """Write a file atomically as UTF-8, with its line ends; what UTF-8 lacks is escaped.

    Raises:
        OutputError: see ``write_whole``.
    """
    write_whole(path, text.encode("utf-8", "backslashreplace"), hint)
