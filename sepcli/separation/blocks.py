"""Recordings in and stems out, block by block: what files have in common with arrays, and these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sepcli.signal.windows import Signal


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


@dataclass(frozen=True)
class ArrayInfo:
    """Fulfils ``BlockInfo`` for a signal in memory."""

    name: str
    sample_rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.frames / self.sample_rate


class ArrayReader:
    """A signal (C, T) in memory, read in blocks; fulfils ``BlockReader``."""

    def __init__(self, signal: Signal, sample_rate: int, name: str = "the mixture") -> None:
        self.info = ArrayInfo(name, sample_rate, *signal.shape)
        self._signal, self._position = signal, 0

    def read(self, frames: int) -> Signal:
        """The next ``frames`` samples (C, T), fewer at the end."""
        block = self._signal[:, self._position : self._position + frames]
        self._position += block.shape[-1]
        return block

    def rewind(self) -> None:
        """Start again at the first sample."""
        self._position = 0


class ArrayWriter:
    """Keeps the blocks of K stems (K, C, T) in memory; fulfils ``BlockWriter``."""

    def __init__(self) -> None:
        self._blocks: list[Signal] = []

    def write(self, stems: Signal, mixture: Signal | None = None) -> Signal:
        """Append a block (K, C, T) as it is; floats need no rounding to sum to the mixture."""
        self._blocks.append(stems)
        return stems

    @property
    def stems(self) -> Tensor:
        """All of the stems (K, C, T), float64."""
        return torch.from_numpy(np.concatenate(self._blocks, axis=-1))
