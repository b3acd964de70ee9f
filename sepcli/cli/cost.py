"""Time and memory that the separation of recordings will take, estimated from a few seconds of noise."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli.part import Part

if TYPE_CHECKING:
    from sepcli.separation.separator import Separator

SAMPLE = 3.0
"""Seconds of noise whose separation is measured."""


@dataclass(frozen=True)
class Cost:
    """Estimates for several recordings.

    Attributes:
        durations: input → seconds of audio.
        seconds: input → seconds that its separation takes.
        memory: bytes of the process, without those of a graphics card; None: unknown on this system.
    """

    durations: Mapping[Path, float]
    seconds: Mapping[Path, float]
    memory: int | None


def estimate(separator: Separator, sources: Sequence[Path], part: Part) -> Cost:
    """Estimate the cost of separating a part of recordings one by one.

    Time is that of every direction of every window (see ``sepcli.separation.levels.directions``), which are
    counted by reading the files; the noise is like the last of them.
    """
    from sepcli.separation.levels import directions
    from sepcli.separation.windows_plan import plan_windows

    settings, engine = separator.stream, separator.engine
    durations, work, longest = dict[Path, float](), dict[Path, float](), 0.0
    for source in sources:
        with ExitStack() as stack:
            reader = part.open(source, stack)
            info = reader.info
            plan = plan_windows(settings, engine, info.frames, info.sample_rate)
            windows = plan.windows.split(reader.read, info.frames)
            count = sum(len(directions(window, settings.side)) for window in windows if window.any())
            length = plan.windows.samples / info.sample_rate
            durations[source], work[source] = info.seconds, count * length
            longest = max(longest, length * min(settings.batch, plan.windows.count(info.frames)))
    rate, fixed, growing = _measured(separator, info.sample_rate, info.channels)
    memory = None if fixed is None else round(fixed + growing * longest)
    return Cost(durations, {source: rate * seconds for source, seconds in work.items()}, memory)


def _measured(separator: Separator, rate: int, channels: int) -> tuple[float, int | None, float]:
    """Return seconds per second of audio, bytes of the process, and further bytes per second of a window."""
    import numpy as np

    from sepcli.separation.windows_plan import plan_windows

    noise = np.random.default_rng(0).uniform(-0.3, 0.3, round(SAMPLE * rate)).astype(np.float32)
    mixture = np.repeat(noise[None], channels, axis=0)

    def separate() -> float:
        started = time.perf_counter()
        separator.separate(mixture, sample_rate=rate, channel_axis=0, samples=_samples(separator))
        return time.perf_counter() - started

    before = _peak()
    elapsed = min(separate() for _ in range(2))  # the first one loads libraries, too
    after = _peak()
    growth = 0 if before is None or after is None else after - before
    windows = plan_windows(separator.stream, separator.engine, mixture.shape[1], rate).windows
    length, count = windows.samples / rate, windows.count(mixture.shape[1])
    together = length * min(count, separator.stream.batch)
    return elapsed / (length * count), before, growth / together


def _samples(separator: Separator) -> int:
    return separator.stream.samples if separator.stream.keep_samples else 1


def _peak() -> int | None:
    """Return the largest number of bytes that this process has held so far."""
    try:
        resource: Any = import_module("resource")  # not on Windows
    except ImportError:
        return None
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else 1024 * peak
