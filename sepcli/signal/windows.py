"""Overlapping windows of long signals, and the crossfades that join them.

Windows of ``length`` blocks start every ``length - overlap`` blocks; the last one is moved back by whole
blocks to the end of the signal, so that every window is full except for a part of a block. A block is one
sample, unless the process applied to the windows has a coarser grid, with which all windows must be
aligned.

Windows are joined by crossfades over the overlap, or its middle, with weights (1 - w, w): they sum to one,
and the ends of the signal are not faded. Only one window is held in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]
RATES = (1_000, 1_000_000)
"""The lowest and the highest sample rate of recordings, in Hz."""


@dataclass(frozen=True)
class Windows:
    """Positions of windows in a signal.

    Raises:
        ValueError: Not 0 <= overlap < length, or the guards are longer than the overlap.
    """

    length: int
    """Blocks of a window."""
    overlap: int
    """Blocks that a window shares with the one before (more for the last window)."""
    block: Fraction = Fraction(1)
    """Samples of a block; windows start at its multiples, rounded down to whole samples."""
    guard: int = 0
    """Samples at both ends of an overlap that are taken, unfaded, from the window that continues there."""

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.length:
            raise ValueError(f"the overlap ({self.overlap}) is not shorter than the window ({self.length})")
        if self.guard < 0 or self.fade < 0:
            raise ValueError(f"guards of {self.guard} samples exceed an overlap of {self.overlap} blocks")

    @cached_property
    def samples(self) -> int:
        """Length of a window in samples."""
        return math.ceil(self.length * self.block)

    @cached_property
    def fade(self) -> int:
        """Length of a crossfade in samples."""
        return math.floor(self.overlap * self.block) - 2 * self.guard

    def count(self, total: int) -> int:
        """Return the number of windows of a signal of ``total`` samples."""
        return 1 + -(-self._last(total) // (self.length - self.overlap))

    def first_block(self, index: int, total: int) -> int:
        """Return the first block of a window of a signal of ``total`` samples."""
        return min(index * (self.length - self.overlap), self._last(total))

    def start(self, index: int, total: int) -> int:
        """Return the first sample of a window of a signal of ``total`` samples."""
        return math.floor(self.first_block(index, total) * self.block)

    def starts(self, total: int) -> Iterator[int]:
        """Yield the first sample of every window of a signal of ``total`` samples."""
        return (self.start(index, total) for index in range(self.count(total)))

    def split(self, read: Callable[[int], Signal], total: int) -> Iterator[Signal]:
        """Yield the windows (…, samples) of a signal of ``total`` samples, padded with zeros beyond its end.

        It is read once from start to end: ``read`` returns the next n samples as (…, n).
        """
        window: Signal | None = None
        end = 0  # of the previous window
        for start in self.starts(total):
            new = read(min(start + self.samples, total) - end)
            if window is not None:
                kept = window[..., self.samples - (end - start) :]
                new = np.concatenate([kept, new], axis=-1)
            window = np.pad(new, [(0, 0)] * (new.ndim - 1) + [(0, self.samples - new.shape[-1])])
            end = start + self.samples
            yield window

    def join(self, pieces: Iterable[Signal], total: int) -> Iterator[Signal]:
        """Join all windows of ``split`` (…, samples), in order; yield blocks of at most one window (…, T)."""
        joiner = Joiner(self, total)
        return (joiner.push(piece) for piece in pieces)

    def _last(self, total: int) -> int:
        """Return the first block of the last window."""
        return max(0, math.ceil((total - self.samples) / self.block))


class Joiner:
    """``Windows.join`` of a signal of ``total`` samples as an object that takes one window at a time."""

    def __init__(self, windows: Windows, total: int) -> None:
        self._starts = windows.starts(total)
        self._windows = windows
        self._total = total
        self._done = 0
        self._tail: Signal | None = None
        w = (np.arange(windows.fade) + 0.5) / max(1, windows.fade)
        self._fade = np.sin(0.5 * np.pi * w) ** 2

    def push(self, piece: Signal) -> Signal:
        """Add the next window (…, samples) and return the samples (…, T) that are complete with it."""
        start, fade = next(self._starts), self._windows.fade
        body = piece[..., self._done - start :]
        if self._tail is not None:
            # exactly equal where both windows are equal
            blend = self._tail + self._fade * (body[..., :fade] - self._tail)
            body = np.concatenate([blend, body[..., fade:]], axis=-1)
        end = start + self._windows.samples
        end = self._total if end >= self._total else end - self._windows.guard - fade
        block = body[..., : end - self._done]
        self._tail = body[..., end - self._done : end - self._done + fade].copy()
        self._done = end
        return block
