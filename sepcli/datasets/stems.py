"""Clean recordings of K sources, from which training and test chunks are sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from sepcli.errors import InputError

SCALE = 32768.0
"""Divisor that brings int16 samples to [-1, 1)."""

PEAK = 0.9
"""Peak of a recording as stored."""
MAX_TRIES = 32
"""Maximum number of attempts to sample a chunk that is not too quiet."""

Samples = NDArray[np.int16]  # (T,), mono


@dataclass(frozen=True)
class StemBank:
    """K long arrays of clean mono recordings laid end to end, and where each recording begins and ends.

    Attributes:
        names: K source names.
        sample_rate: Hz, of all recordings.
        samples: K arrays (T_k,), in memory or memory-mapped.
        spans: K arrays (N_k, 2): where each recording of a source starts and stops in ``samples``.
        songs: K arrays (N_k,): which song each recording is from, at most one recording per song and source.
            Recordings of the same song start at the same time.
        gains: K arrays (N_k,): what the samples of each recording are multiplied by.
    """

    names: tuple[str, ...]
    sample_rate: int
    samples: tuple[Samples, ...]
    spans: tuple[NDArray[np.int64], ...]
    songs: tuple[NDArray[np.int64], ...]
    gains: tuple[NDArray[np.float32], ...]

    @property
    def seconds(self) -> tuple[float, ...]:
        """Total duration of each source, in seconds."""
        return tuple(float((spans[:, 1] - spans[:, 0]).sum()) / self.sample_rate for spans in self.spans)

    def of(self, names: Sequence[str]) -> StemBank:
        """Return the bank of some of the sources, in this order."""
        rows = [self.names.index(name) for name in names]
        return StemBank(
            tuple(names),
            self.sample_rate,
            tuple(self.samples[row] for row in rows),
            tuple(self.spans[row] for row in rows),
            tuple(self.songs[row] for row in rows),
            tuple(self.gains[row] for row in rows),
        )

    def sample(
        self, rng: np.random.Generator, batch: int, length: int, min_rms: float = 0.0
    ) -> NDArray[np.float32]:
        """Unrelated chunks: every item of every source has an independent offset (the protocol of LASS).

        All offsets are equally likely, so a long recording is visited more often than a short one. A chunk
        never spans two recordings. One whose RMS is not above ``min_rms`` is sampled again; after 32 tries
        the loudest is kept.

        Returns:
            Chunks (B, K, T), in [-1, 1) times the gains.

        Raises:
            InputError: a source has no recording of ``length`` samples.
        """
        chunks = np.empty((batch, len(self.names), length), dtype=np.float32)
        for k, name in enumerate(self.names):
            offsets = _Offsets(self.spans[k], length)
            if offsets.count == 0:
                raise _too_short(name, length, self.sample_rate)
            for item in chunks[:, k]:
                item[:] = self._loud_chunk(rng, k, offsets, length, min_rms)
        return chunks

    def together(self, rng: np.random.Generator, batch: int, length: int) -> NDArray[np.float32]:
        """Related chunks: the K stems of one song at the same time; all offsets are equally likely.

        Returns:
            Chunks (B, K, T), in [-1, 1) times the gains.

        Raises:
            InputError: no song has ``length`` samples of every source.
        """
        common = reduce(np.intersect1d, self.songs)
        rows = [np.argsort(songs)[np.searchsorted(np.sort(songs), common)] for songs in self.songs]
        spans = np.stack([s[row] for s, row in zip(self.spans, rows, strict=True)])  # (K, N, 2)
        shared = (spans[:, :, 1] - spans[:, :, 0]).min(axis=0, initial=np.iinfo(np.int64).max)
        offsets = _Offsets(np.stack([np.zeros_like(shared), shared], axis=1), length)
        if offsets.count == 0:
            raise _too_short(" and ".join(self.names), length, self.sample_rate)
        chunks = np.empty((batch, len(self.names), length), dtype=np.float32)
        for item in chunks:
            song, offset = offsets.sample(rng)
            for k, row in enumerate(rows):
                item[k] = self._chunk(k, row[song], spans[k, song, 0] + offset, length)
        return chunks

    def _chunk(self, k: int, row: int, start: int, length: int) -> NDArray[np.float32]:
        samples = self.samples[k][start : start + length]
        return samples.astype(np.float32) * np.float32(self.gains[k][row] / SCALE)

    def _loud_chunk(
        self, rng: np.random.Generator, k: int, offsets: _Offsets, length: int, min_rms: float
    ) -> NDArray[np.float32]:
        """A chunk (T,) whose RMS is above ``min_rms``, or the loudest of many."""
        loudest, best = -1.0, np.zeros(length, dtype=np.float32)
        for _ in range(MAX_TRIES):
            row, start = offsets.sample(rng)
            chunk = self._chunk(k, row, start, length)
            if min_rms <= 0:
                return chunk
            rms = float(np.sqrt(np.mean(np.square(chunk))))
            if rms > min_rms:
                return chunk
            if rms > loudest:
                loudest, best = rms, chunk
        return best


class _Offsets:
    """All offsets at which a chunk of ``length`` fits into one of the recordings ``spans`` (N, 2)."""

    def __init__(self, spans: NDArray[np.int64], length: int) -> None:
        self._first = spans[:, 0]
        self._ends = np.cumsum(np.maximum(spans[:, 1] - spans[:, 0] - length + 1, 0))
        self.count = int(self._ends[-1]) if len(self._ends) else 0

    def sample(self, rng: np.random.Generator) -> tuple[int, int]:
        """Return a random offset: (recording, first sample)."""
        pick = int(rng.integers(self.count))
        row = int(np.searchsorted(self._ends, pick, side="right"))
        before = int(self._ends[row - 1]) if row else 0
        return row, int(self._first[row]) + pick - before


def _too_short(name: str, length: int, sample_rate: int) -> InputError:
    return InputError(
        f"no recording of {name} lasts the {length / sample_rate:.2f} s of a chunk",
        "ask for shorter chunks, or add longer recordings",
    )


def concatenate(
    names: Sequence[str], sample_rate: int, recordings: Sequence[Sequence[tuple[int, Samples]]]
) -> StemBank:
    """The bank of recordings in memory: for each of the K sources, its (song, samples (T,))."""
    empty = np.zeros(0, dtype=np.int16)
    samples = [np.concatenate([empty, *(x for _, x in source)]) for source in recordings]
    index = [[(song, len(x)) for song, x in source] for source in recordings]
    tables = [np.array(rows, dtype=np.int64).reshape(-1, 2) for rows in index]
    return laid_out(names, sample_rate, samples, tables)


def laid_out(
    names: Sequence[str], sample_rate: int, samples: Sequence[Samples], index: Sequence[NDArray[np.int64]]
) -> StemBank:
    """The bank of K arrays (T_k,) of recordings laid end to end, with K arrays (N_k, 2) of (song, length)."""
    ends = [np.cumsum([0, *table[:, 1]], dtype=np.int64) for table in index]
    return StemBank(
        names=tuple(names),
        sample_rate=sample_rate,
        samples=tuple(samples),
        spans=tuple(np.stack([end[:-1], end[1:]], axis=1) for end in ends),
        songs=tuple(table[:, 0] for table in index),
        gains=tuple(np.ones(len(table), np.float32) for table in index),
    )


def at_peak(signal: NDArray[np.float32], peak: float) -> Samples:
    """Scale samples (T,) from their peak to ``PEAK``, in 16 bits."""
    return np.round(signal * np.float32(PEAK * 32767 / peak)).astype(np.int16)
