"""Long signals as a stream of overlapping windows, and back.

Windows of ``length`` samples start every ``length - overlap`` samples; the last one is moved back to end
where the signal ends, so that every window is full of signal. Joining fades from one window to the next over
``overlap`` samples with weights (1 - w, w): they sum to one, and nothing is faded at the ends of the signal.
Only one window is held at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]


@dataclass(frozen=True)
class Windows:
    """The geometry of windows.

    Raises:
        ValueError: Not 0 <= overlap < length.
    """

    length: int
    """Samples of a window."""
    overlap: int
    """Samples that a window shares with the one before (more for the last window)."""

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.length:
            raise ValueError(f"the overlap ({self.overlap}) must be shorter than the window ({self.length})")

    def count(self, total: int) -> int:
        """The number of windows that a signal of ``total`` samples needs."""
        beyond = max(0, total - self.length)
        return 1 + -(-beyond // (self.length - self.overlap))

    def starts(self, total: int) -> Iterator[int]:
        """Where in a signal of ``total`` samples the windows start."""
        last = max(0, total - self.length)
        for index in range(self.count(total)):
            yield min(index * (self.length - self.overlap), last)

    def split(self, read: Callable[[int], Signal], total: int) -> Iterator[Signal]:
        """Cut a signal that is read once from start to end.

        Args:
            read: Returns the next n samples as (…, n).
            total: Samples of the signal, at least 1.

        Yields:
            (…, length); a signal shorter than a window is filled up with zeros.
        """
        window, previous = None, 0
        for start in self.starts(total):
            if window is None:
                first = read(min(self.length, total))
                missing = self.length - first.shape[-1]
                window = np.pad(first, [(0, 0)] * (first.ndim - 1) + [(0, missing)])
            else:
                shift = start - previous
                window = np.concatenate([window[..., shift:], read(shift)], axis=-1)
            previous = start
            yield window

    def join(self, pieces: Iterable[Signal], total: int) -> Iterator[Signal]:
        """Undo ``split``.

        Args:
            pieces: Every window in order, (…, length).
            total: Samples of the signal.

        Yields:
            (…, T), the signal in blocks of at most one window.
        """
        joiner = Joiner(self, total)
        return (joiner.push(piece) for piece in pieces)


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
        w = (np.arange(windows.overlap) + 0.5) / max(1, windows.overlap)
        self._fade = np.sin(0.5 * np.pi * w) ** 2

    def push(self, piece: Signal) -> Signal:
        """Take the next window (…, length) and return the samples that it completes, (…, T)."""
        start, overlap = next(self._starts), self._windows.overlap
        body = piece[..., self._done - start :]
        if self._tail is not None:
            blend = self._tail + self._fade * (
                body[..., :overlap] - self._tail
            )  # equal parts stay equal, exactly
            body = np.concatenate([blend, body[..., overlap:]], axis=-1)
        end = (
            self._total
            if start + self._windows.length >= self._total
            else self._done + body.shape[-1] - overlap
        )
        block = body[..., : end - self._done]
        self._tail = body[..., end - self._done :].copy()
        self._done = end
        return block
