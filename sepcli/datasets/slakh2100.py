"""Slakh2100 (Manilow et al., 2019): multi-track songs, one FLAC file per instrument.

::

    slakh2100_flac_redux/
    ├── train/Track00001/{mix.flac, metadata.yaml, stems/S00.flac, stems/S01.flac …}
    ├── validation/…
    └── test/…

Stems are grouped by the ``inst_class`` in ``metadata.yaml``; several stems of one class are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sepcli.datasets.songs import Damaged, Recording, Songs, SongSet, Stored
from sepcli.errors import InputError

_FAST_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, ten times as fast, where built

SUFFIXES = (".flac", ".wav")
METADATA, MIX = "metadata.yaml", "mix"
LAYOUT = "Slakh2100 holds train/, validation/ and test/, each with folders TrackNNNNN."
FOLDERS = {"valid": "validation"}
"""Split → its folder, where the two differ."""


def open_slakh(root: str | Path, split: str = "test") -> SongSet:
    """Return the songs of a split, ``train``, ``valid`` or ``test``; see ``slakh_songs``."""
    return SongSet(f"Slakh2100, split {FOLDERS.get(split, split)}", slakh_songs(Path(root), split))


def slakh_songs(root: Path, split: str = "test") -> Songs:
    """Find the tracks of a split; of a folder that holds tracks directly, all of them.

    Returns:
        By track, its instrument classes in lower case that have files, and ``mixture`` if there is a mix. A
        track whose metadata are damaged has every stem that another one has; reading them raises the reason.

    Raises:
        InputError: there are no tracks, or the metadata of every one are damaged.
    """
    songs: dict[str, Mapping[str, Stored]] = {}
    damaged: dict[str, Damaged] = {}
    for track in find_tracks(root, FOLDERS.get(split, split)):
        try:
            songs[track.name] = read_stems(track)
        except InputError as error:
            damaged[track.name] = Damaged((track / METADATA,), error)
    if not songs:
        raise next(iter(damaged.values())).reason
    names = sorted({name for stems in songs.values() for name in stems})
    songs |= {track: dict.fromkeys(names, stem) for track, stem in damaged.items()}
    return dict(sorted(songs.items()))


def is_slakh(data: Path) -> bool:
    """Whether a folder is of Slakh2100's layout."""
    return any(next(data.glob(pattern), None) for pattern in (f"*/{METADATA}", f"*/*/{METADATA}"))


def find_tracks(root: Path, split: str) -> list[Path]:
    """Return the folders of a split that hold a metadata.yaml.

    Raises:
        InputError: there are none.
    """
    for folder in (root / split, root):
        tracks = sorted(path.parent for path in folder.glob(f"*/{METADATA}"))
        if tracks:
            return tracks
    if not root.is_dir():
        raise InputError(f"there is no folder {root}", "give the folder of Slakh2100")
    splits = sorted({path.parent.parent.name for path in root.glob(f"*/*/{METADATA}")})
    hint = f"its splits are: {', '.join(splits)}" if splits else LAYOUT
    raise InputError(f"{root} has no tracks in a split {split}", hint)


def read_stems(track: Path) -> dict[str, Stored]:
    """Return a track's stems by class, and its ``mixture`` if it has one; classes without files are left out.

    Raises:
        InputError: the metadata are damaged.
    """
    path = track / METADATA
    try:
        metadata = yaml.load(path.read_bytes(), Loader=_FAST_SAFE_LOADER)
        stems: dict[str, dict[str, Any]] = metadata["stems"]
        rendered = {key: str(s["inst_class"]) for key, s in stems.items() if s.get("audio_rendered", True)}
        folder = track / Path(metadata.get("audio_dir") or "stems").name
    except (yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not the metadata of a Slakh track", "copy or download it again"
        ) from error
    files: dict[str, list[Path]] = {}
    for key, name in rendered.items():
        files.setdefault(name.casefold(), []).extend(_existing(folder / key)[:1])
    grouped: dict[str, Stored] = {
        name: Recording(tuple(paths)) for name, paths in sorted(files.items()) if paths
    }
    mixes = _existing(track / MIX)
    return grouped | ({"mixture": Recording((mixes[0],))} if mixes else {})


def _existing(stem: Path) -> list[Path]:
    """Audio files of this name, the preferred format first."""
    paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in SUFFIXES]
    return [path for path in paths if path.is_file()]
