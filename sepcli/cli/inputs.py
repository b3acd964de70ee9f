"""Arguments of the command line → input files, and the medium of each."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sepcli.errors import InputError, SepError
from sepcli.media import MEDIA, MediumName
from sepcli.media.folders import find_files, passed_over
from sepcli.media.names import safe_name

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


@dataclass(frozen=True)
class Inputs:
    """Inputs of a command.

    Attributes:
        folders: file → its folder below the one that was searched; empty for files given by name.
        searched: files that were found by searching a folder → that folder.
        failed: argument → why it gives no file.
    """

    folders: dict[Path, str] = field(default_factory=dict)
    searched: dict[Path, Path] = field(default_factory=dict)
    failed: dict[Path, SepError] = field(default_factory=dict)

    def keep_apart(self) -> dict[Path, str]:
        """Return the folders, longer ones for files of one name, by which they differ."""
        groups: dict[tuple[str, str], list[Path]] = {}
        for path, folder in self.folders.items():
            groups.setdefault((folder, safe_name(path.stem)), []).append(path)
        folders = dict(self.folders)
        for group in groups.values():
            parents = [Path(os.path.abspath(path)).parent for path in group]
            if len(set(parents)) > 1:
                common = os.path.commonpath(parents)
                folders |= {
                    path: _safe(parent.relative_to(common))
                    for path, parent in zip(group, parents, strict=True)
                }
        return folders


def collect(
    arguments: Sequence[str],
    media: Sequence[MediumName],
    out: Path,
    on_message: Callable[[str], None],
) -> Inputs:
    """Return the files that arguments name, each once: files, globs, and folders with all folders in them.

    Args:
        arguments: of the command line.
        media: of the files that are taken from folders.
        out: the folder of outputs, which is not searched, and of whose folders none with a record is.
        on_message: called with a note on what is passed over in a folder.
    """
    inputs = Inputs()
    for argument in arguments:
        path = Path(argument)
        try:
            if not argument:
                raise InputError("an input is an empty argument", "give files, folders or globs")
            if os.path.isdir(path):
                files = _search(path, media, out, on_message)
                for file in files:
                    inputs.folders.setdefault(file, _safe(file.parent.relative_to(path)))
                    inputs.searched.setdefault(file, path)
                continue
            for file in _named(argument):
                inputs.folders.setdefault(file, "")
        except SepError as error:
            inputs.failed[path] = error
    return inputs


def _named(argument: str) -> list[Path]:
    """Return the file of an argument, or the files that match it."""
    if os.path.lexists(argument) or not glob.has_magic(argument):
        return [Path(argument)]
    files = [Path(m) for m in sorted(glob.glob(argument, recursive=True)) if not Path(m).is_dir()]
    if not files:
        raise InputError(f"nothing matches {argument}", "check the pattern")
    return files


def _search(
    folder: Path, media: Sequence[MediumName], out: Path, on_message: Callable[[str], None]
) -> list[Path]:
    """Return the files of some media in a folder and its folders; a note tells what is passed over."""
    suffixes = tuple(suffix for medium in media for suffix in MEDIA[medium].suffixes)
    if not os.access(folder, os.R_OK | os.X_OK):
        raise InputError(f"cannot read the folder {folder}", "check that you are allowed to read it")
    found, others = find_files(folder, suffixes)
    target = Path(os.path.realpath(out))
    outputs: dict[Path, Path | None] = {}
    files = []
    for file in found:
        if file.parent not in outputs:
            outputs[file.parent] = _output_folder(file.parent, folder, target)
        if outputs[file.parent] is None:
            files.append(file)
    others += dict.fromkeys(path for path in outputs.values() if path is not None)
    for note in passed_over(folder, others):
        on_message(note)
    if not files:
        raise InputError(
            f"the folder {folder} holds no {' or '.join(media)} files", f"suffixes: {' '.join(suffixes)}"
        )
    return files


def _output_folder(folder: Path, root: Path, out: Path) -> Path | None:
    """Return the uppermost folder of outputs, below a root, that a folder lies in; None if it is of none."""
    below = [parent for parent in (folder, *folder.parents) if parent != root and parent.is_relative_to(root)]
    for parent in reversed(below):
        real = Path(os.path.realpath(parent))
        if real == out or (real.is_relative_to(out) and (parent / "run.json").is_file()):
            return parent
    return None


def _safe(folder: Path) -> str:
    """Return a relative folder with names that every system can write."""
    return "/".join(safe_name(part) for part in folder.parts)
