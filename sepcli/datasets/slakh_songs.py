"""Slakh2100 as songs to separate: whole tracks, stems at the level that they have in the mix."""

from __future__ import annotations

from pathlib import Path

from sepcli.datasets.slakh import SUFFIXES, find_tracks, read_stems
from sepcli.datasets.songs import Recording, Songs, Stored

MIX = "mix"


def slakh_songs(root: Path, split: str = "test") -> Songs:
    """The tracks of a split; stems are named by their class in lower case, stems of a class are added.

    Args:
        root: The data set's root, or a folder that holds tracks directly (then ``split`` is not looked at).
        split: ``train``, ``validation`` or ``test``.

    Returns:
        By track, its classes of which there are files, and ``mixture`` if there is a mix.

    Raises:
        InputError: There are no tracks, or a track's metadata is damaged.
    """
    songs: dict[str, dict[str, Stored]] = {}
    for track in find_tracks(root, split):
        _, classes = read_stems(track, ())
        names = sorted({name.casefold() for name in classes})
        files, _ = read_stems(track, names)
        stems: dict[str, Stored] = {
            name: Recording(tuple(paths)) for name, paths in zip(names, files, strict=True) if paths
        }
        mixes = [track / f"{MIX}{suffix}" for suffix in SUFFIXES if (track / f"{MIX}{suffix}").is_file()]
        songs[track.name] = stems | ({"mixture": Recording((mixes[0],))} if mixes else {})
    return songs
