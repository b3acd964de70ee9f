"""Songs with stems. Stems are read from disk one at a time, when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sepcli.datasets.pair_folder import Pair
from sepcli.datasets.recordings import decode, read_resampled
from sepcli.errors import InputError

Signal = NDArray[np.float32]
"""(T, C) or (T,)."""


class Stored(Protocol):
    """A stem of a song, in files."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that it is read from."""

    def read(self) -> tuple[Signal, int]:
        """Return samples (T, C) and their rate in Hz; ``InputError`` if it cannot be read."""

    def mono(self, rate: int) -> Signal:
        """Return samples (T,), averaged over channels, at ``rate`` Hz; ``InputError`` as ``read``."""


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
            signal, other = _read(path)
            if other != rate or signal.shape[1] != total.shape[1]:
                raise InputError(
                    f"{path} and {self.paths[0]} differ in sample rate or channels", "make them alike"
                )
            length = max(len(total), len(signal))
            total = _lengthened(total, length) + _lengthened(signal, length)
        return total, rate

    def mono(self, rate: int) -> Signal:
        """See ``Stored``; files may differ in rate and channels."""
        signals = [read_resampled(path, rate) for path in self.paths]
        total = np.zeros(max(map(len, signals)), dtype=np.float32)
        for signal in signals:
            total[: len(signal)] += signal
        return total


@dataclass(frozen=True)
class Damaged:
    """A stem of a song whose metadata are damaged."""

    paths: tuple[Path, ...]
    """The metadata."""
    reason: InputError

    def read(self) -> tuple[Signal, int]:
        """Raise the reason."""
        raise self.reason

    def mono(self, rate: int) -> Signal:
        """Raise the reason."""
        raise self.reason


@dataclass(frozen=True)
class SongSet:
    """Songs to be separated one by one.

    Attributes:
        title: the data set and its split.
        songs: all of them.
        limit: how many are used, of those that have all sources; None: all.
        notes: sentences on what is left out or passed over.
    """

    title: str
    songs: Songs
    limit: int | None = None
    notes: tuple[str, ...] = ()

    def pairs(self, count: int | None = None) -> SongSet:
        """Return the same songs, at most ``count`` of them."""
        return replace(self, limit=count)

    def complete(self, names: Sequence[str]) -> list[str]:
        """Return the songs that have stems of all these names."""
        return [song for song, stems in self.songs.items() if all(name in stems for name in names)]


def song_pairs(
    songs: Songs, names: Sequence[str], sample_rate: int, limit: int | None = None
) -> Iterator[Pair]:
    """Read the songs that have K stems as items, one song in memory at a time.

    Stems are averaged over channels, resampled, and padded with silence to one length.

    Raises:
        InputError: a stem cannot be read.
    """
    for song in SongSet("", songs).complete(names)[:limit]:
        signals = [songs[song][name].mono(sample_rate) for name in names]
        length = max(map(len, signals))
        rows = [np.pad(signal, (0, length - len(signal))) for signal in signals]
        yield Pair(song, np.stack(rows), sample_rate)


def _lengthened(signal: Signal, length: int) -> Signal:
    return np.pad(signal, ((0, length - len(signal)), (0, 0)))


def _read(path: Path) -> tuple[Signal, int]:
    samples, rate = decode(path)
    if not len(samples) or not np.isfinite(samples).all():
        raise InputError(f"{path} holds no samples, or not finite ones", "copy or download it again")
    return samples, rate
