"""Long signals as a stream of overlapping windows, and back.

Windows of ``length`` blocks start every ``length - overlap`` blocks; the last one is moved back, by whole
blocks, to end where the signal ends, so that every window is full of signal, but for a part of a block. A
block is one sample, unless what works on the windows has a grid of its own, on which all of them must lie.

Joining fades from one window to the next over the overlap, or the middle of it, with weights (1 - w, w): they
sum to one, and nothing is faded at the ends of the signal. Only one window is held at a time.
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


@dataclass(frozen=True)
class Windows:
    """The geometry of windows.

    Raises:
        ValueError: Not 0 <= overlap < length, or nothing of the overlap is left between the guards.
    """

    length: int
    """Blocks of a window."""
    overlap: int
    """Blocks that a window shares with the one before (more for the last window)."""
    block: Fraction = Fraction(1)
    """Samples of a block; windows start at its multiples, rounded down to whole samples."""
    guard: int = 0
    """Samples at both ends of an overlap that are taken from one window alone: the one that goes on there."""

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.length:
            raise ValueError(f"the overlap ({self.overlap}) must be shorter than the window ({self.length})")
        if self.guard < 0 or self.fade < 0:
            raise ValueError(f"guards of {self.guard} samples do not fit into {self.overlap} blocks")

    @cached_property
    def samples(self) -> int:
        """Samples of a window."""
        return math.ceil(self.length * self.block)

    @cached_property
    def fade(self) -> int:
        """Samples of a crossfade."""
        return math.floor(self.overlap * self.block) - 2 * self.guard

    def count(self, total: int) -> int:
        """The number of windows that a signal of ``total`` samples needs."""
        return 1 + -(-self._last(total) // (self.length - self.overlap))

    def first_block(self, index: int, total: int) -> int:
        """The block at which a window of a signal of ``total`` samples starts."""
        return min(index * (self.length - self.overlap), self._last(total))

    def start(self, index: int, total: int) -> int:
        """The sample at which a window of a signal of ``total`` samples starts."""
        return math.floor(self.first_block(index, total) * self.block)

    def starts(self, total: int) -> Iterator[int]:
        """Where in a signal of ``total`` samples the windows start."""
        hop, last = self.length - self.overlap, self._last(total)
        for index in range(self.count(total)):
            yield math.floor(min(index * hop, last) * self.block)

    def split(self, read: Callable[[int], Signal], total: int) -> Iterator[Signal]:
        """Cut a signal that is read once from start to end.

        Args:
            read: Returns the next n samples as (…, n).
            total: Samples of the signal, at least 1.

        Yields:
            (…, samples); what lies beyond the end of the signal is filled up with zeros.
        """
        window: Signal | None = None
        end = 0  # of the window before
        for start in self.starts(total):
            fresh = read(min(start + self.samples, total) - end)
            if window is not None:
                kept = window[..., self.samples - (end - start) :]
                fresh = np.concatenate([kept, fresh], axis=-1)
            window = np.pad(fresh, [(0, 0)] * (fresh.ndim - 1) + [(0, self.samples - fresh.shape[-1])])
            end = start + self.samples
            yield window

    def join(self, pieces: Iterable[Signal], total: int) -> Iterator[Signal]:
        """Undo ``split``.

        Args:
            pieces: Every window in order, (…, samples).
            total: Samples of the signal.

        Yields:
            (…, T), the signal in blocks of at most one window.
        """
        joiner = Joiner(self, total)
        return (joiner.push(piece) for piece in pieces)

    def _last(self, total: int) -> int:
        """The block at which the last window starts."""
        return max(0, math.ceil((total - self.samples) / self.block))


class Joiner:
    """``Windows.join`` for callers that have several signals to join side by side.

    Args:
        windows: The geometry.
        total: Samples of the signal.
    """

    def __init__(self, windows: Windows, total: int) -> None:
        self._starts = windows.starts(total)
        self._windows = windows
        self._total = total
        self._done = 0
        self._tail: Signal | None = None
        w = (np.arange(windows.fade) + 0.5) / max(1, windows.fade)
        self._fade = np.sin(0.5 * np.pi * w) ** 2

    def push(self, piece: Signal) -> Signal:
        """Take the next window (…, samples) and return the samples that it completes, (…, T)."""
        start, fade = next(self._starts), self._windows.fade
        body = piece[..., self._done - start :]
        if self._tail is not None:
            blend = self._tail + self._fade * (
                body[..., :fade] - self._tail
            )  # equal parts stay equal, exactly
            body = np.concatenate([blend, body[..., fade:]], axis=-1)
        end = start + self._windows.samples
        end = self._total if end >= self._total else end - self._windows.guard - fade
        block = body[..., : end - self._done]
        self._tail = body[..., end - self._done : end - self._done + fade].copy()
        self._done = end
        return block
