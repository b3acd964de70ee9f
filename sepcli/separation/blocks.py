"""Recordings in and stems out, block by block: what files and arrays in memory have in common."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]


class BlockInfo(Protocol):
    """Name, sample rate and size of a recording, available before it is read."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def channels(self) -> int:
        """C."""

    @property
    def frames(self) -> int:
        """Samples per channel."""

    @property
    def seconds(self) -> float:
        """The duration."""


class BlockReader(Protocol):
    """A recording that is read from start to end in blocks."""

    @property
    def info(self) -> BlockInfo:
        """Name, sample rate and size of the recording."""

    def read(self, frames: int) -> Signal:
        """The next ``frames`` samples (C, T), fewer at the end."""

    def rewind(self) -> None:
        """Start again at the first sample."""


class BlockWriter(Protocol):
    """Takes the blocks of K stems."""

    def write(self, stems: Signal, mixture: Signal | None = None) -> Signal:
        """Append a block (K, C, T), which is to sum to ``mixture`` (C, T) if given; return it as stored."""
