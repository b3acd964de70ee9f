"""Arguments of the command line → input files, and the medium of each."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sepcli.errors import InputError
from sepcli.media import MEDIA, MediumName

SIGNATURES: Mapping[MediumName, tuple[bytes, ...]] = {
    "audio": (b"fLaC", b"OggS", b"ID3", b"FORM", b"RF64", b"riff", b".snd", b"caff"),
    "image": (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*"),
}
"""The first bytes of files, by medium."""
RIFF: Mapping[bytes, MediumName] = {b"WAVE": "audio", b"WEBP": "image"}
"""Bytes 8 to 11 of a RIFF file → its medium."""


def medium_of(path: Path) -> MediumName | None:
    """Return the medium of a file by its first bytes, else its suffix, else Pillow; None if none tells."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except (OSError, ValueError):
        head = b""
    if head.startswith(b"RIFF") and head[8:] in RIFF:
        return RIFF[head[8:]]
    for medium, signatures in SIGNATURES.items():
        if head.startswith(signatures):
            return medium
    for row in MEDIA.values():
        if path.suffix.lower() in row.suffixes:
            return row.name
    from sepcli.media.images import is_image  # Pillow recognizes more than the signatures above

    return "image" if path.is_file() and is_image(path) else None


def collect(
    arguments: Sequence[str],
    media: Sequence[MediumName],
    on_message: Callable[[str], None],
) -> list[Path]:
    """Return the files that arguments name, each once: files, folders (their files of these media) and globs.

    ``on_message`` is called with a note on what is skipped.

    Raises:
        InputError: an argument matches nothing, or a folder holds no such file.
    """
    paths: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        if not argument:
            raise InputError("an input is an empty argument", "give files, folders or globs")
        if os.path.isdir(path):
            files = _files_in(path, media, on_message)
        elif os.path.lexists(path) or not glob.has_magic(argument):
            files = [path]
        else:
            files = [Path(m) for m in sorted(glob.glob(argument, recursive=True)) if not Path(m).is_dir()]
            if not files:
                raise InputError(f"nothing matches {argument}", "check the pattern")
        paths.update(dict.fromkeys(files))
    return list(paths)


def _files_in(folder: Path, media: Sequence[MediumName], on_message: Callable[[str], None]) -> list[Path]:
    suffixes = [suffix for medium in media for suffix in MEDIA[medium].suffixes]
    try:
        entries = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and not p.is_dir())
    except OSError as error:
        raise InputError(
            f"cannot read the folder {folder}: {error.strerror}", "check that you are allowed to read it"
        ) from error
    files = [path for path in entries if path.suffix.lower() in suffixes]
    if not files:
        raise InputError(
            f"the folder {folder} holds no {' or '.join(media)} files", f"suffixes: {' '.join(suffixes)}"
        )
    if skipped := len(entries) - len(files):
        others = {path.suffix.lower() or "no suffix" for path in entries} - {*suffixes}
        on_message(f"{folder}: {skipped} other files are skipped ({', '.join(sorted(others))})")
    return files
