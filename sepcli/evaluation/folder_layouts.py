"""Estimates and references in folders of finished stems.

Estimates lie where programs write them (T track, S stem)::

    T/S.wav                      sepcli, spleeter, open-unmix
    S/T.wav                      a folder per source
    S.wav                        of a single track
    MODEL/T/S.wav                demucs' folder ``separated``; every model becomes a row
    test/T/S.wav, train/T/S.wav  MUSDB18, also as what musdb writes
    T_(S)_MODEL.wav              audio-separator, UVR; every model becomes a row

References likewise, but for models. Audio files beside such folders are no stems if no stem is called like
them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sepcli.datasets.songs import Stored
from sepcli.errors import InputError
from sepcli.media import MEDIA
from sepcli.media.folders import data_entries, find_files, is_data, passed_over

SOUNDS = MEDIA["audio"].suffixes
IMAGES = MEDIA["image"].suffixes
MIXTURE = "mixture"
STEM_NAMES = frozenset(
    {"drums", "bass", "vocals", "other", "accompaniment", "piano", "guitar", "strings", MIXTURE}
)
"""Folders of these names hold one stem of many tracks."""
SPLITS = frozenset({"train", "test", "valid", "validation"})
"""Folders of these names hold tracks, not stems or models."""
ESTIMATES = "estimates"
"""The row of estimates that no model gives a name."""
RECORDS = frozenset({"run.json", "page.html"})
"""Names of files that `sepcli separate` writes beside stems."""

NAMED = re.compile(r"(?P<track>.+)_\((?P<stem>[^()]+)\)(?:_(?P<model>.+))?")
"""Names of files that say track, stem and model, as audio-separator and UVR write them."""

Source = Path | Stored
"""A file, or a stem that the reader of a data set opens."""
Stems = Mapping[str, Source]
Layout = Mapping[str, Stems]
"""``layout[track][stem]``."""


def holds(folder: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether a folder has such files in one of the layouts."""
    inside = (path for depth in ("*", "*/*") for path in folder.glob(depth) if path.is_dir())
    folders = (path for path in inside if all(map(is_data, path.relative_to(folder).parts)))
    return folder.is_dir() and any(_stems(path, suffixes) for path in (folder, *folders))


def read_references(folder: Path) -> Layout:
    """Return the tracks of a folder of references, of all its splits.

    Raises:
        InputError: the folder is missing, or ambiguous.
    """
    return references_in(folder, set(), SOUNDS)


def references_in(folder: Path, tracks: set[str], suffixes: tuple[str, ...]) -> Layout:
    """Return references; of splits, those that have one of the tracks, or all if none has.

    Raises:
        InputError: the folder is missing, or ambiguous.
    """
    parts = parts_of(folder, suffixes)
    if not parts.keys() <= SPLITS | {""}:
        raise InputError(
            f"{folder} holds folders of folders: {', '.join(parts)}",
            "give the one that holds the references",
        )
    return joined({split: part for split, part in parts.items() if part.keys() & tracks} or parts, folder)


def joined(parts: Mapping[str, Layout], folder: Path) -> Layout:
    """Return the tracks of all splits.

    Raises:
        InputError: two splits have a track of the same name.
    """
    joined: dict[str, Stems] = {}
    for part in parts.values():
        twice = sorted(part.keys() & joined.keys())
        if twice:
            raise InputError(f"{folder} has {twice[0]} in two of its folders", "give one of them")
        joined |= part
    return joined


def parts_of(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Layout]:
    """Return a folder's layout, as part ``""``; or those of its folders, if only these have a depth of two.

    Raises:
        InputError: the folder is missing, or ambiguous.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", "give a folder of {track}/{stem}.wav (or .flac …)")
    folders = [path for path in _entries(folder) if path.is_dir()]
    if named := _named(folder, suffixes):
        return named
    if not any(_stems(path, suffixes) for path in folders):
        deep = [sub for sub in folders if any(_stems(p, suffixes) for p in _entries(sub) if p.is_dir())]
        if deep:  # an audio file beside them belongs to none
            return {sub.name: _layout(sub, suffixes) for sub in deep}
    return {"": _layout(folder, suffixes)}


def _named(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Layout]:
    """Return the layout by model of a folder of files called ``TRACK_(STEM)_MODEL``; {} if one is not."""
    files = [path for path in _entries(folder) if path.suffix.lower() in suffixes and path.is_file()]
    matches = [NAMED.fullmatch(path.stem) for path in files]
    parts: dict[str, dict[str, dict[str, Source]]] = {}
    for path, match in zip(files, matches, strict=True):
        if match is None:
            return {}
        stems = parts.setdefault(match["model"] or "", {}).setdefault(match["track"], {})
        if match["stem"] in stems:
            raise InputError(f"{folder} holds {path.stem} twice", f"keep {path.name} or the other one")
        stems[match["stem"]] = path
    return {model: layout for model, layout in parts.items()}


def _layout(folder: Path, suffixes: tuple[str, ...]) -> Layout:
    """A folder's files by track and stem; the track of files that lie in the folder itself is ``""``."""
    flat = _stems(folder, suffixes)
    nested = {path.name: _stems(path, suffixes) for path in _entries(folder) if path.is_dir()}
    nested = {name: stems for name, stems in nested.items() if stems}
    layout = turned(nested) if {name.lower() for name in nested} <= STEM_NAMES else nested
    if flat and not flat.keys() & {stem for stems in layout.values() for stem in stems}:
        flat = {} if nested else flat
    if flat and nested:
        raise InputError(
            f"{folder} holds files of stems beside folders of such files",
            "give either the stems of one track, or one folder per track",
        )
    if not flat and not nested:
        raise InputError(
            f"{folder} holds no audio" if suffixes == SOUNDS else f"{folder} holds no images",
            f"give a folder of {{track}}/{{stem}}{suffixes[0]} (or {suffixes[1]} …)",
        )
    return {"": flat} if flat else layout


def _stems(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Source]:
    stems: dict[str, Source] = {}
    for path in _entries(folder):
        if path.suffix.lower() in suffixes and path.is_file():
            if path.stem in stems:
                raise InputError(f"{folder} holds {path.stem} twice", f"keep {path.name} or the other one")
            stems[path.stem] = path
    return stems


def _entries(folder: Path) -> list[Path]:
    """Return the entries of a folder that can be data, sorted."""
    try:
        return data_entries(folder)
    except OSError as error:
        raise InputError(
            f"cannot read the folder {folder}: {error.strerror}", "check that you are allowed to read it"
        ) from error


def notes_on(folder: Path, suffixes: tuple[str, ...]) -> tuple[str, ...]:
    """Return a line on what a folder holds beside stems; () if there is nothing.

    Raises:
        InputError: the folder is missing, or ambiguous.
    """
    layouts = parts_of(folder, suffixes).values()
    used = {source for layout in layouts for stems in layout.values() for source in stems.values()}
    entries = (path for paths in find_files(folder, suffixes) for path in paths)
    return passed_over(folder, sorted(p for p in entries if p not in used and p.name not in RECORDS))


def turned(layout: Layout) -> Layout:
    """Return ``layout[b][a]`` for ``layout[a][b]``."""
    swapped: dict[str, dict[str, Source]] = {}
    for outer, inner in layout.items():
        for name, source in inner.items():
            swapped.setdefault(name, {})[outer] = source
    return swapped
