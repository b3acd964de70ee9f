"""Songs with stems as banks of clean recordings: mono, at one rate, every stem at one peak.

Stems differ in level within a song; here each is normalized to a peak of 0.9, for the protocol of LASS
(Postolache et al. 2023), where a mixture is the mean of unrelated chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from sepcli.datasets.cache import fingerprint, gather
from sepcli.datasets.musdb18 import find_songs, is_musdb, musdb_songs, open_musdb
from sepcli.datasets.slakh2100 import has_tracks, is_slakh, open_slakh, slakh_songs
from sepcli.datasets.songs import Songs, Stored
from sepcli.datasets.stems import PEAK, Samples, StemBank, at_peak
from sepcli.errors import InputError

SUBSETS: Mapping[str, str] = {"train": "train", "validation": "valid", "test": "test"}
"""Split of Slakh2100 → the matching split of MUSDB18."""
CACHE_VERSION = 2
SILENT = 1e-6
"""Peak, of full scale, up to which a stem is silent: -120 dB, below 16 bits."""

Found = tuple[int, int, Stored]  # source, song, stem


def holds_songs(data: Path) -> bool:
    """Whether a folder is of songs with stems: Slakh2100's layout, or MUSDB18."""
    return is_slakh(data) or is_musdb(data)


def open_songs(
    data: Path,
    split: str,
    sources: tuple[str, ...] = ("drums", "bass"),
    sample_rate: int = 22050,
    cache: Path | None = None,
) -> StemBank:
    """Open the clean recordings of the sources in a split.

    A song that lacks a source still gives its other sources. Silent stems are left out.

    Args:
        data: the folder of a data set of either layout; or a folder of Slakh's tracks (``split`` is ignored).
        split: ``train``, ``validation`` or ``test``.
        sources: classes of Slakh or stems of MUSDB18, in any case; the names of the bank.
        sample_rate: Hz; stems are resampled to it and averaged to mono.
        cache: a folder for decoded samples, which are read again if a file of the data set has changed.

    Raises:
        InputError: the folder is of neither layout, there are no songs, no stem of a source that is not
            silent, or a file cannot be read.
        OutputError: the cache cannot be written.
    """
    name, songs = _open(data, split)
    stems = _stems(data, name, songs, sources)
    folder = None
    if cache is not None:
        files = sorted({path for _, _, stem in stems for path in stem.paths})
        parts = [(k, song, [path.name for path in stem.paths]) for k, song, stem in stems]
        key = fingerprint(files, CACHE_VERSION, PEAK, list(sources), sample_rate, parts)
        folder = cache / f"{name}-{key}"
    return gather(_at_one_peak(stems, sources, sample_rate), sources, sample_rate, folder)


def has_split(data: Path, split: str) -> bool:
    """Whether there are songs of a split."""
    if is_musdb(data):
        return bool(find_songs(data, SUBSETS[split]))
    return has_tracks(data / split)


def song_notes(data: Path) -> tuple[str, ...]:
    """Return sentences on what is left out of the songs for training and validation."""
    splits = [split for split in ("train", "validation") if has_split(data, split)]
    if is_musdb(data):
        notes = [note for split in splits for note in open_musdb(data, SUBSETS[split]).notes]
    else:
        notes = [note for split in splits or ["train"] for note in open_slakh(data, split).notes]
    return tuple(dict.fromkeys(notes))


def held_out_split(data: Path) -> str:
    """Return the split to test priors on: ``test``, or else ``validation``.

    Raises:
        InputError: there is neither.
    """
    for split in ("test", "validation"):
        if has_split(data, split):
            return split
    raise InputError(
        f"{data} has no songs to test on",
        "give the folder that holds test/, or else validation/, beside train/",
    )


def _open(data: Path, split: str) -> tuple[str, Songs]:
    """The layout and split, as part of a cache's name, and the songs."""
    if is_musdb(data):
        return f"musdb-{SUBSETS[split]}", musdb_songs(data, SUBSETS[split])
    if data.is_dir() and not is_slakh(data):
        raise InputError(
            f"{data} holds no songs with stems",
            "give the folder of Slakh2100, with train/TrackNNNNN, or that of MUSDB18, with train/SONG",
        )
    return f"slakh-{split}", slakh_songs(data, split)


def _stems(data: Path, name: str, songs: Songs, sources: Sequence[str]) -> list[Found]:
    """All stems of the sources, song by song; raises ``InputError`` if a source has none."""
    wanted = [source.casefold() for source in sources]
    names = sorted({stem for stems in songs.values() for stem in stems})
    for source, stem in zip(sources, wanted, strict=True):
        if stem not in names:
            raise InputError(
                f"no song of {data} ({name}) has a source {source}", f"its sources are: {', '.join(names)}"
            )
    return [
        (k, song, stems[stem])
        for song, stems in enumerate(songs.values())
        for k, stem in enumerate(wanted)
        if stem in stems
    ]


def _at_one_peak(
    stems: Sequence[Found], sources: Sequence[str], rate: int
) -> Iterator[tuple[int, int, Samples]]:
    """Read stems one at a time, scaled to ``PEAK`` in 16 bits; silent ones are left out."""
    audible: set[int] = set()
    for k, song, stem in stems:
        signal = stem.mono(rate)
        peak = float(np.abs(signal).max(initial=0.0))
        if peak > SILENT:
            audible.add(k)
            yield k, song, at_peak(signal, peak)
    for k, source in enumerate(sources):
        if k not in audible:
            raise InputError(f"all stems of {source} are silent", "check that the data set is complete")
