"""Positions of the windows of a file, at its rate and at the engine's, and the seeds of their noise.

An engine whose noise can be fixed in time (``Engine.hop``) is given windows of whole blocks, one of
which neighbors share; a block is a whole number of the engine's frames, and has separate seeds. Where
neighbors have the same context they then sample the same sources, and joining does not average independent
samples, which would lose up to 3 dB in the middle. At its ends a window has context on one side only: these
parts are not used. At rates that are no multiple of the engine's, neighbors may be out of step by a sample.

Other engines have windows of any length, each with independent noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from sepcli.protocols import Engine
from sepcli.separation.seeds import sample_seeds
from sepcli.separation.settings import StreamSettings
from sepcli.signal.windows import Windows

GUARD = 4
"""A window's ends are a quarter of the overlap each, and the crossfade is the half between them."""


@dataclass(frozen=True)
class WindowsPlan:
    """The windows of one file."""

    windows: Windows
    frames: int
    """Samples of the file."""
    engine_length: int
    """Samples of a window at the engine's rate."""
    shared: bool
    """Whether noise belongs to blocks, not to windows."""

    def start(self, window: int) -> int:
        """The sample of the file at which a window starts."""
        return self.windows.start(window, self.frames)

    def seeds(self, seed: int, window: int, samples: int, direction: int = 0) -> list[int] | list[list[int]]:
        """Seeds of a direction of a window: (S,), or (S, Z) for its blocks, 63 bits each."""
        if not self.shared:
            return sample_seeds(seed, window, samples, direction)
        first = self.windows.first_block(window, self.frames)
        blocks = range(first, first + self.windows.length)
        of_blocks = [sample_seeds(seed, block, samples, direction) for block in blocks]
        return [list(seeds) for seeds in zip(*of_blocks, strict=True)]


def plan_windows(settings: StreamSettings, engine: Engine, frames: int, rate: int) -> WindowsPlan:
    """Windows for a file of ``frames`` samples at ``rate`` Hz.

    An engine with shared noise gets an overlap of whole frames and windows of whole overlaps, two or more,
    but no longer than the file needs.
    """
    target = engine.sample_rate
    if engine.hop is None:
        length = max(2, round(settings.window * rate))
        windows = Windows(length, min(round(settings.overlap * rate), length // 2))
        return WindowsPlan(windows, frames, max(1, round(length * target / rate)), shared=False)
    hop = engine.hop
    part = hop * max(1, round((settings.overlap or settings.window) * target / hop))
    overlap = int(settings.overlap > 0)
    most = max(1 + overlap, round(settings.window * target / part))
    block = Fraction(part * rate, target)
    length = _even(math.ceil(frames / block), most, overlap)
    guard = math.floor(overlap * block / GUARD)
    windows = Windows(length, overlap if length > 1 else 0, block, guard if length > 1 else 0)
    return WindowsPlan(windows, frames, length * part, shared=True)


def _even(total: int, most: int, overlap: int) -> int:
    """Blocks per window, at most so many: as few as the least possible number of windows allows."""
    windows = max(1, -(-(total - overlap) // (most - overlap)))
    return -(-(total - overlap) // windows) + overlap
