"""Estimates and references in folders of finished stems, matched by name.

Estimates lie where programs write them (T track, S stem)::

    T/S.wav                      sepcli, spleeter, open-unmix
    S/T.wav                      a folder per source
    S.wav                        of a single track
    MODEL/T/S.wav                demucs' folder ``separated``; every model becomes a row
    test/T/S.wav, train/T/S.wav  MUSDB18, also as what musdb writes

References likewise, but for models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sepcli.datasets.songs import Stored
from sepcli.errors import InputError
from sepcli.evaluation.report import Failure
from sepcli.media import MEDIA

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

Source = Path | Stored
"""A file, or a stem that the reader of a data set opens."""
Stems = Mapping[str, Source]
Layout = Mapping[str, Stems]
"""``layout[track][stem]``."""


@dataclass(frozen=True)
class FolderTrack:
    """A track that has all its files: estimates by row, and references, maybe with a mixture."""

    id: str
    estimates: Mapping[str, Stems]
    references: Stems


@dataclass(frozen=True)
class Pairing:
    """Tracks that two folders have in common."""

    stems: tuple[str, ...]
    """K names that the references and the estimates of every row have."""
    tracks: tuple[FolderTrack, ...]
    failures: tuple[Failure, ...]
    """Tracks that lack a file."""
    ignored: tuple[str, ...]
    """Stems that are not everywhere."""


def holds(folder: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether a folder has such files in a layout of ``pair_folders``."""
    folders = (path for depth in ("*", "*/*") for path in folder.glob(depth) if path.is_dir())
    return folder.is_dir() and any(_stems(path, suffixes) for path in (folder, *folders))


def pair_folders(estimates: Path, references: Path | Layout, suffixes: tuple[str, ...] = SOUNDS) -> Pairing:
    """Match estimates with references by name.

    Of references in splits, only the splits that have an estimated track are taken.

    Args:
        estimates: a folder in one of the layouts above.
        references: likewise; or the tracks of a data set.
        suffixes: of the files of stems.

    Raises:
        InputError: a folder is missing or ambiguous, or the two have no stem of a track in common.
    """
    parts = _parts(estimates, suffixes)
    rows = {ESTIMATES: _joined(parts, estimates)} if parts.keys() <= SPLITS | {""} else parts
    tracks = {name for layout in rows.values() for track in layout for name in (track, _plain(track))}
    ref = _references(references, tracks, suffixes) if isinstance(references, Path) else references
    name = references.name if isinstance(references, Path) else "track"
    for row, est in rows.items():
        rows[row], ref = _match(est, ref, name)
    common = [_common(est, ref) - {MIXTURE} for est in rows.values()]
    stems = tuple(sorted(set.intersection(*common)))
    if not stems:
        raise InputError(
            f"{estimates} and {name} have no stem of a track in common",
            "both need {track}/{stem}.wav (or .flac …) with the same names",
        )
    labelled = [("estimate" if row == ESTIMATES else f"estimate by {row}", est) for row, est in rows.items()]
    complete, failures = [], []
    for track in sorted({*ref, *(track for est in rows.values() for track in est)}):
        missing = [
            f"no {what} of {stem}"
            for what, layout in (*labelled, ("reference", ref))
            for stem in stems
            if stem not in layout.get(track, {})
        ]
        if missing:
            failures.append(Failure(track, ", ".join(missing)))
        else:
            complete.append(FolderTrack(track, {row: est[track] for row, est in rows.items()}, ref[track]))
    everything = {stem for layout in (*rows.values(), ref) for stems in layout.values() for stem in stems}
    return Pairing(stems, tuple(complete), tuple(failures), tuple(sorted(everything - {*stems, MIXTURE})))


def read_references(folder: Path) -> Layout:
    """Return the tracks of a folder of references, of all its splits.

    Raises:
        InputError: the folder is missing, or ambiguous.
    """
    return _references(folder, set(), SOUNDS)


def _references(folder: Path, tracks: set[str], suffixes: tuple[str, ...]) -> Layout:
    """References; of splits, those that have one of the tracks, or all if none has."""
    parts = _parts(folder, suffixes)
    if not parts.keys() <= SPLITS | {""}:
        raise InputError(
            f"{folder} holds folders of folders: {', '.join(parts)}",
            "give the one that holds the references",
        )
    return _joined({split: part for split, part in parts.items() if part.keys() & tracks} or parts, folder)


def _joined(parts: Mapping[str, Layout], folder: Path) -> Layout:
    """The tracks of all splits."""
    joined: dict[str, Stems] = {}
    for part in parts.values():
        twice = sorted(part.keys() & joined.keys())
        if twice:
            raise InputError(f"{folder} has {twice[0]} in two of its folders", "give one of them")
        joined |= part
    return joined


def _parts(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Layout]:
    """A folder's layout, as part ``""``; or the layouts of its folders, if only these have a depth of two."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", "give a folder of {track}/{stem}.wav (or .flac …)")
    folders = [path for path in _entries(folder) if path.is_dir()]
    if not any(_stems(path, suffixes) for path in (folder, *folders)):
        deep = [sub for sub in folders if any(_stems(p, suffixes) for p in _entries(sub) if p.is_dir())]
        if deep:
            return {sub.name: _layout(sub, suffixes) for sub in deep}
    return {"": _layout(folder, suffixes)}


def _layout(folder: Path, suffixes: tuple[str, ...]) -> Layout:
    """A folder's files by track and stem; the track of files that lie in the folder itself is ``""``."""
    flat = _stems(folder, suffixes)
    nested = {path.name: _stems(path, suffixes) for path in _entries(folder) if path.is_dir()}
    nested = {name: stems for name, stems in nested.items() if stems}
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
    if flat:
        return {"": flat}
    return _turned(nested) if {name.lower() for name in nested} <= STEM_NAMES else nested


def _stems(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Source]:
    stems: dict[str, Source] = {}
    for path in _entries(folder):
        if path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith("."):
            if path.stem in stems:
                raise InputError(f"{folder} holds {path.stem} twice", f"keep {path.name} or the other one")
            stems[path.stem] = path
    return stems


def _entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, sorted."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"cannot read the folder {folder}: {error.strerror}", "check that you are allowed to read it"
        ) from error


def _match(est: Layout, ref: Layout, name: str) -> tuple[Layout, Layout]:
    """Both layouts with the same names for tracks and stems, where that is possible."""
    if len(est) == len(ref) == 1 and "" in {*est, *ref}:  # a track without a name matches any
        name = next(iter(ref)) or next(iter(est)) or name
        return {name: next(iter(est.values()))}, {name: next(iter(ref.values()))}
    est = {_plain(track) if track not in ref and _plain(track) in ref else track: est[track] for track in est}
    turns = ((est, ref), (est, _turned(ref)), (_turned(est), ref))
    return next(((e, r) for e, r in turns if _common(e, r)), (est, ref))


def _plain(track: str) -> str:
    """The song's name in that of MUSDB18's file ``SONG.stem.mp4``, which programs call ``SONG.stem``."""
    return track.removesuffix(".stem")


def _turned(layout: Layout) -> Layout:
    """``layout[b][a]`` for ``layout[a][b]``."""
    turned: dict[str, dict[str, Source]] = {}
    for outer, inner in layout.items():
        for name, source in inner.items():
            turned.setdefault(name, {})[outer] = source
    return turned


def _common(a: Layout, b: Layout) -> set[str]:
    """Stems that both have of some track."""
    return {stem for track in a.keys() & b.keys() for stem in a[track].keys() & b[track].keys()}
