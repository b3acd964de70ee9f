"""Stems of songs on their way into a bank: brought to one peak, kept in a cache or in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sepcli.datasets.cache import fill, open_cache
from sepcli.datasets.stems import StemBank, concatenate
from sepcli.errors import InputError

PEAK = 0.9
"""Peak of every stem as stored."""
SILENT = 1e-6
"""Peak, of full scale, up to which a stem is silent: -120 dB, which no one hears and no 16 bits hold."""

Samples = NDArray[np.int16]  # (T,), mono


def at_one_peak(
    signals: Iterator[tuple[int, int, NDArray[np.float32]]], sources: Sequence[str]
) -> Iterator[tuple[int, int, Samples]]:
    """Bring stems to the same peak, one at a time, and leave out silent ones.

    Args:
        signals: (source, song, samples (T,)).
        sources: Names of the K sources.

    Yields:
        The same in 16 bits, with a peak of ``PEAK``.

    Raises:
        InputError: All stems of a source are silent.
    """
    heard: set[int] = set()
    for k, song, signal in signals:
        peak = float(np.abs(signal).max(initial=0.0))
        if peak > SILENT:
            heard.add(k)
            yield k, song, np.round(signal * np.float32(PEAK * 32767 / peak)).astype(np.int16)
    for k, source in enumerate(sources):
        if k not in heard:
            raise InputError(f"all stems of {source} are silent", "Check that the data set is complete.")


def gather(
    recordings: Iterator[tuple[int, int, Samples]],
    sources: Sequence[str],
    sample_rate: int,
    folder: Path | None,
) -> StemBank:
    """The bank of recordings that are decoded as they are asked for.

    Args:
        recordings: (source, song, samples (T,)); not asked for if they are in the folder.
        sources: Names of the K sources.
        sample_rate: In Hz.
        folder: A cache of these recordings; it is filled if it is not there. None: they go into memory.

    Raises:
        InputError: The cache is damaged.
        OutputError: It cannot be written.
    """
    if folder is None:
        found: list[list[tuple[int, Samples]]] = [[] for _ in sources]
        for k, song, samples in recordings:
            found[k].append((song, samples))
        return concatenate(sources, sample_rate, found)
    if not folder.is_dir():
        fill(folder, recordings, len(sources))
    return open_cache(folder, sources, sample_rate)
