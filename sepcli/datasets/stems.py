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

MAX_TRIES = 32
"""Maximum number of attempts to sample a chunk that is not too quiet."""


@dataclass(frozen=True)
class StemBank:
    """K long arrays of clean mono recordings laid end to end, and where each recording begins and ends.

    Args:
        names: K source names.
        sample_rate: In Hz, of all recordings.
        samples: K arrays (T_k,) int16, in memory or memory-mapped.
        spans: K arrays (N_k, 2) int64: where each recording of a source starts and stops in ``samples``.
        songs: K arrays (N_k,) int64: which song each recording is from, at most one recording per song and
            source. Recordings of the same song start at the same time.
        gains: K arrays (N_k,) float32: what the samples of each recording are multiplied by; None for 1.
    """

    names: tuple[str, ...]
    sample_rate: int
    samples: tuple[NDArray[np.int16], ...]
    spans: tuple[NDArray[np.int64], ...]
    songs: tuple[NDArray[np.int64], ...]
    gains: tuple[NDArray[np.float32], ...] | None = None

    @property
    def seconds(self) -> tuple[float, ...]:
        """Total duration of each source, in seconds."""
        return tuple(float((spans[:, 1] - spans[:, 0]).sum()) / self.sample_rate for spans in self.spans)

    def sample(
        self, rng: np.random.Generator, batch: int, length: int, min_rms: float = 0.0
    ) -> NDArray[np.float32]:
        """Unrelated chunks: every item of every source has an independent offset (the protocol of LASS).

        All offsets are equally likely, so a long recording is visited more often than a short one. A chunk
        never spans two recordings.

        Args:
            rng: the random generator.
            batch: B, the number of items.
            length: T, in samples.
            min_rms: Chunks whose RMS is not above this are sampled again; after 32 tries the loudest is kept.

        Returns:
            Chunks (B, K, T), in [-1, 1) times the gains.

        Raises:
            InputError: If a source has no recording of ``length`` samples.
        """
        chunks = np.empty((batch, len(self.names), length), dtype=np.float32)
        for k, samples in enumerate(self.samples):
            offsets = _Offsets(self.spans[k], length)
            if offsets.count == 0:
                raise _too_short(self.names[k], length, self.sample_rate)
            gains = None if self.gains is None else self.gains[k]
            for item in chunks[:, k]:
                item[:] = _loud_chunk(rng, samples, gains, offsets, length, min_rms)
        return chunks

    def together(self, rng: np.random.Generator, batch: int, length: int) -> NDArray[np.float32]:
        """Related chunks: the K stems of one song at the same time.

        Args:
            rng: the random generator; all offsets are equally likely.
            batch: B, the number of items.
            length: T, in samples.

        Returns:
            Chunks (B, K, T), in [-1, 1) times the gains.

        Raises:
            InputError: If no song has ``length`` samples of every source.
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
            for k, samples in enumerate(self.samples):
                start = spans[k, song, 0] + offset
                gain = 1.0 if self.gains is None else self.gains[k][rows[k][song]]
                item[k] = _chunk(samples, start, length, gain)
        return chunks


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


def _chunk(samples: NDArray[np.int16], start: int, length: int, gain: float) -> NDArray[np.float32]:
    return samples[start : start + length].astype(np.float32) * np.float32(gain / SCALE)


def _loud_chunk(
    rng: np.random.Generator,
    samples: NDArray[np.int16],
    gains: NDArray[np.float32] | None,
    offsets: _Offsets,
    length: int,
    min_rms: float,
) -> NDArray[np.float32]:
    """A chunk (T,) whose RMS is above ``min_rms``, or the loudest of many."""
    loudest, best = -1.0, np.zeros(length, dtype=np.float32)
    for _ in range(MAX_TRIES):
        row, start = offsets.sample(rng)
        chunk = _chunk(samples, start, length, 1.0 if gains is None else gains[row])
        if min_rms <= 0:
            return chunk
        rms = float(np.sqrt(np.mean(np.square(chunk))))
        if rms > min_rms:
            return chunk
        if rms > loudest:
            loudest, best = rms, chunk
    return best


def _too_short(name: str, length: int, sample_rate: int) -> InputError:
    return InputError(
        f"no recording of {name} lasts the {length / sample_rate:.2f} s of a chunk",
        "ask for shorter chunks, or add longer recordings",
    )


def concatenate(
    names: Sequence[str], sample_rate: int, recordings: Sequence[Sequence[tuple[int, NDArray[np.int16]]]]
) -> StemBank:
    """A bank of recordings that are in memory.

    Args:
        names: K source names.
        sample_rate: In Hz.
        recordings: For each source, its recordings as (song, samples (T,) int16).

    Returns:
        The bank.
    """
    ends = [np.cumsum([0, *(len(x) for _, x in source)], dtype=np.int64) for source in recordings]
    empty = np.zeros(0, dtype=np.int16)
    return StemBank(
        names=tuple(names),
        sample_rate=sample_rate,
        samples=tuple(np.concatenate([empty, *(x for _, x in source)]) for source in recordings),
        spans=tuple(np.stack([end[:-1], end[1:]], axis=1) for end in ends),
        songs=tuple(np.array([song for song, _ in source], dtype=np.int64) for source in recordings),
    )
