"""MUSDB18 as a bank of stems: mono, at one rate, every song's source at one peak, as of Slakh2100."""

from __future__ import annotations

from pathlib import Path

from sepcli.datasets.cache import fingerprint
from sepcli.datasets.decoded import PEAK, at_one_peak, gather
from sepcli.datasets.musdb import STEMS, Subset, musdb_songs
from sepcli.datasets.songs import mono
from sepcli.datasets.stems import StemBank
from sepcli.errors import InputError

CACHE_VERSION = 1


def open_musdb(
    root: Path,
    subset: Subset,
    sources: tuple[str, ...] = ("drums", "bass"),
    sample_rate: int = 22050,
    cache: Path | None = None,
) -> StemBank:
    """Open an official subset of MUSDB18 as clean recordings of the sources.

    A song that lacks a source still gives its other sources. Silent stems are left out.

    Args:
        root: Holds the folders ``train`` and ``test``, of songs in WAV or MP4.
        subset: ``train``, ``valid`` or ``test``.
        sources: Of ``STEMS``, in any case, in the order wanted.
        sample_rate: In Hz; stems are resampled to it and averaged to mono.
        cache: A folder for the decoded samples. The next call maps them into memory at once, unless a file of
            the data set has changed. Without it, all is decoded into memory (2 bytes a sample).

    Returns:
        The bank, with ``sources`` as its names.

    Raises:
        InputError: There are no songs, no stem of a source that is not silent, or a file cannot be read.
        OutputError: The cache cannot be written.
    """
    songs = musdb_songs(root, subset)
    wanted = [source.casefold() for source in sources]
    there = {name for stems in songs.values() for name in stems}
    for source, name in zip(sources, wanted, strict=True):
        if name not in there:
            known = ", ".join(stem for stem in STEMS if stem in there)
            raise InputError(
                f"no song of {root}, subset {subset}, has a source {source}", f"The sources are: {known}."
            )
    found = [
        (k, song, stems[name])
        for song, stems in enumerate(songs.values())
        for k, name in enumerate(wanted)
        if name in stems
    ]
    folder = None
    if cache is not None:
        files = sorted({path for _, _, stem in found for path in stem.paths})
        known_by = fingerprint(files, CACHE_VERSION, PEAK, wanted, sample_rate)
        folder = cache / f"musdb-{subset}-{known_by}"
    signals = ((k, song, mono(stem, sample_rate)[:, 0]) for k, song, stem in found)
    return gather(at_one_peak(signals, sources), sources, sample_rate, folder)
