"""Slakh2100 (Manilow et al., 2019): multi-track songs, one FLAC file per instrument.

::

    slakh2100_flac_redux/
    ├── train/Track00001/{mix.flac, metadata.yaml, stems/S00.flac, stems/S01.flac …}
    ├── validation/…
    └── test/…

Stems are grouped by the ``inst_class`` in ``metadata.yaml``; several stems of one class are added. A class of
which a rendered stem has no file is incomplete, and left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from sepcli.datasets.metadata import read_yaml
from sepcli.datasets.songs import Damaged, Recording, Songs, SongSet, Stored
from sepcli.errors import InputError
from sepcli.media.folders import is_data, passed_over, shortened

SUFFIXES = (".flac", ".wav")
METADATA, MIX = "metadata.yaml", "mix"
LAYOUT = "Slakh2100 holds train/, validation/ and test/, each with folders TrackNNNNN."
FOLDERS = {"valid": "validation"}
"""Split → its folder, where the two differ."""


def open_slakh(root: str | Path, split: str = "test") -> SongSet:
    """Return the songs of a split, ``train``, ``valid`` or ``test``; see ``slakh_songs``."""
    tracks = find_tracks(Path(root), FOLDERS.get(split, split))
    songs, missing = _read_tracks(tracks)
    notes = list(passed_over(tracks[0].parent, sorted({*tracks[0].parent.iterdir()} - {*tracks})))
    if missing:
        what = f"{len(missing)} rendered stem(s) have no file, their classes are left out of their tracks"
        notes.append(f"{what}: {shortened(missing)}")
    return SongSet(f"Slakh2100, split {FOLDERS.get(split, split)}", songs, notes=tuple(notes))


def slakh_songs(root: Path, split: str = "test") -> Songs:
    """Find the tracks of a split; of a folder that holds tracks directly, all of them.

    Returns:
        By track, its instrument classes in lower case whose files are all there, and ``mixture`` if there is
        a mix. A track whose metadata are damaged has every stem that another one has; reading them raises the
        reason.

    Raises:
        InputError: there are no tracks, or the metadata of every one are damaged.
    """
    return _read_tracks(find_tracks(root, FOLDERS.get(split, split)))[0]


def _read_tracks(tracks: Sequence[Path]) -> tuple[Songs, list[str]]:
    """Return the songs, and the names of stems without files."""
    songs: dict[str, Mapping[str, Stored]] = {}
    damaged: dict[str, Damaged] = {}
    missing: list[str] = []
    for track in tracks:
        try:
            songs[track.name], lost = read_stems(track)
            missing += [f"{track.name}/{stem}" for stem in lost]
        except InputError as error:
            damaged[track.name] = Damaged((track / METADATA,), error)
    if not songs:
        raise next(iter(damaged.values())).reason
    names = sorted({name for stems in songs.values() for name in stems})
    songs |= {track: dict.fromkeys(names, stem) for track, stem in damaged.items()}
    return dict(sorted(songs.items())), missing


def is_slakh(data: Path) -> bool:
    """Whether a folder is of Slakh2100's layout."""
    return any(_tracks(data, depth) for depth in ("*", "*/*"))


def has_tracks(folder: Path) -> bool:
    """Whether a folder holds tracks."""
    return bool(_tracks(folder))


def find_tracks(root: Path, split: str) -> list[Path]:
    """Return the folders of a split that hold a metadata.yaml.

    Raises:
        InputError: there are none.
    """
    for folder in (root / split, root):
        if tracks := _tracks(folder):
            return tracks
    if not root.is_dir():
        raise InputError(f"there is no folder {root}", "give the folder of Slakh2100")
    splits = sorted({track.parent.name for track in _tracks(root, "*/*")})
    hint = f"its splits are: {', '.join(splits)}" if splits else LAYOUT
    raise InputError(f"{root} has no tracks in a split {split}", hint)


def _tracks(folder: Path, depth: str = "*") -> list[Path]:
    """Return the tracks of a folder, in no folder that is no data."""
    tracks = (path.parent for path in folder.glob(f"{depth}/{METADATA}"))
    return sorted(track for track in tracks if all(map(is_data, track.relative_to(folder).parts)))


def read_stems(track: Path) -> tuple[dict[str, Stored], list[str]]:
    """Return a track's stems by class with its ``mixture`` if it has one, and its stems without files.

    A class is left out if a file of it is missing.

    Raises:
        InputError: the metadata are damaged.
    """
    path = track / METADATA
    try:
        metadata = read_yaml(path)
        stems: dict[str, dict[str, Any]] = metadata["stems"]
        existing = {key: stem for key, stem in stems.items() if stem.get("audio_rendered", True)}
        rendered = {key: str(stem["inst_class"]).strip() for key, stem in existing.items()}
        folder = track / PureWindowsPath(metadata.get("audio_dir") or "stems").name  # splits at / and \
    except (yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not the metadata of a Slakh track", "copy or download it again"
        ) from error
    files: dict[str, list[Path]] = {}
    missing = [key for key in rendered if not _existing(folder / key)]
    incomplete = {rendered[key].casefold() for key in missing}
    for key, name in rendered.items():
        if name.casefold() not in incomplete:
            files.setdefault(name.casefold(), []).append(_existing(folder / key)[0])
    grouped: dict[str, Stored] = {name: Recording(tuple(paths)) for name, paths in sorted(files.items())}
    mixes = _existing(track / MIX)
    return grouped | ({"mixture": Recording((mixes[0],))} if mixes else {}), missing


def _existing(stem: Path) -> list[Path]:
    """Audio files of this name, the preferred format first."""
    paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in SUFFIXES]
    return [path for path in paths if path.is_file()]
