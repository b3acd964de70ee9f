"""Slakh2100 as songs to separate: whole tracks, stems at the level that they have in the mix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sepcli.datasets.slakh import METADATA, SUFFIXES, find_tracks, read_stems
from sepcli.datasets.songs import Damaged, Recording, Songs, Stored
from sepcli.errors import InputError

MIX = "mix"


def slakh_songs(root: Path, split: str = "test") -> Songs:
    """The tracks of a split; stems are named by their class in lower case, stems of a class are added.

    Args:
        root: The data set's root, or a folder that holds tracks directly (then ``split`` is not looked at).
        split: ``train``, ``validation`` or ``test``.

    Returns:
        By track, its classes of which there are files, and ``mixture`` if there is a mix. A track whose
        metadata is damaged has every stem that another one has, and none of them can be read.

    Raises:
        InputError: There are no tracks, or the metadata of every one is damaged.
    """
    songs: dict[str, Mapping[str, Stored]] = {}
    damaged: dict[str, Damaged] = {}
    for track in find_tracks(root, split):
        try:
            songs[track.name] = _stems(track)
        except InputError as error:
            damaged[track.name] = Damaged((track / METADATA,), error)
    if not songs:
        raise next(iter(damaged.values())).reason
    names = sorted({name for stems in songs.values() for name in stems})
    songs |= {track: dict.fromkeys(names, stem) for track, stem in damaged.items()}
    return dict(sorted(songs.items()))


def _stems(track: Path) -> Mapping[str, Stored]:
    _, classes = read_stems(track, ())
    names = sorted({name.casefold() for name in classes})
    files, _ = read_stems(track, names)
    stems: dict[str, Stored] = {
        name: Recording(tuple(paths)) for name, paths in zip(names, files, strict=True) if paths
    }
    mixes = [track / f"{MIX}{suffix}" for suffix in SUFFIXES if (track / f"{MIX}{suffix}").is_file()]
    return stems | ({"mixture": Recording((mixes[0],))} if mixes else {})
