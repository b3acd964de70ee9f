"""Songs whose stems are read when they are wanted, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from sepcli.datasets.pairs import Pair
from sepcli.datasets.recordings import decode
from sepcli.errors import InputError

Signal = NDArray[np.float32]
"""(T, C)."""


class Stored(Protocol):
    """A stem of a song, in files."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """What it is read from."""
        ...

    def read(self) -> tuple[Signal, int]:
        """Samples (T, C) and their rate in Hz.

        Raises:
            InputError: It cannot be read.
        """
        ...


Songs = Mapping[str, Mapping[str, Stored]]
"""``songs[song][stem]``; a stem ``mixture`` is the whole song."""


@dataclass(frozen=True)
class Recording:
    """The sum of audio files that start together; shorter ones end in silence."""

    paths: tuple[Path, ...]

    def read(self) -> tuple[Signal, int]:
        """See ``Stored``."""
        total, rate = _read(self.paths[0])
        for path in self.paths[1:]:
            signal, own = _read(path)
            if own != rate or signal.shape[1] != total.shape[1]:
                raise InputError(
                    f"{path} and {self.paths[0]} differ in sample rate or channels", "make them alike"
                )
            length = max(len(total), len(signal))
            total = _lengthened(total, length) + _lengthened(signal, length)
        return total, rate


@dataclass(frozen=True)
class Damaged:
    """A stem of a song of which nobody knows where its sound is: what describes the song is damaged."""

    paths: tuple[Path, ...]
    """The description."""
    reason: InputError

    def read(self) -> tuple[Signal, int]:
        """See ``Stored``; there is nothing to be read."""
        raise self.reason


def song_pairs(
    songs: Songs, names: Sequence[str], sample_rate: int, limit: int | None = None
) -> Iterator[Pair]:
    """Songs as items to be mixed: mono, at another rate, one in memory at a time.

    Args:
        songs: Those that have all the sources are taken.
        names: K stems, in the order wanted.
        sample_rate: In Hz; stems are averaged over channels, resampled, and ended alike with silence.
        limit: Only the first ones.

    Raises:
        InputError: A stem cannot be read.
    """
    whole = [song for song, stems in songs.items() if all(name in stems for name in names)]
    for song in whole[:limit]:
        signals = [mono(songs[song][name], sample_rate) for name in names]
        length = max(map(len, signals))
        yield Pair(song, np.stack([_lengthened(signal, length)[:, 0] for signal in signals]), sample_rate)


def mono(stem: Stored, rate: int) -> Signal:
    """A stem averaged over its channels, (T, 1), at ``rate`` Hz; ``InputError`` if it cannot be read."""
    signal, own = stem.read()
    mean = signal.mean(axis=1)
    if own != rate:
        mean = soxr.resample(mean, own, rate)
    return np.asarray(mean, dtype=np.float32)[:, None]


def _lengthened(signal: Signal, length: int) -> Signal:
    return np.pad(signal, ((0, length - len(signal)), (0, 0)))


def _read(path: Path) -> tuple[Signal, int]:
    samples, rate = decode(path)
    if not len(samples) or not np.isfinite(samples).all():
        raise InputError(f"{path} holds no samples, or not finite ones", "Copy or download it again.")
    return samples, rate
