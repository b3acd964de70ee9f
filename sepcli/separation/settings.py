"""How a file goes through an engine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from sepcli.errors import UsageError

Consistency = Literal["wiener", "residual", "project", "none"]


@dataclass(frozen=True)
class StreamSettings:
    """How a file goes through an engine.

    Raises:
        UsageError: A value is out of its range.
    """

    window: float = 3.0
    """Seconds that the engine sees at once."""
    overlap: float = 0.5
    """Seconds of crossfade between windows."""
    batch: int = 8
    """Windows that the engine sees side by side; changes speed and memory only."""
    samples: int = 1
    """S, posterior draws per window."""
    keep_samples: bool = False
    """Write every draw as its own set of stems, instead of one set from all of them."""
    consistency: Consistency = "wiener"
    """wiener: masks on the mixture; residual: estimates, and masks on what they lack of it; project:
    estimates, and equal parts of that; none: bare estimates."""
    exponent: float = 2.0
    """Of the masks."""
    fft_seconds: float = 0.05
    """The short-time window of the masks, rounded to the next power of two in samples."""
    reference_rms: float | None = 0.1
    """Level that the mixture is brought to for the engine; None leaves it alone."""

    def __post_init__(self) -> None:
        checks = {
            "samples": self.samples >= 1,
            "batch": self.batch >= 1,
            "window": 0 < self.window < math.inf,
            "overlap": 0 <= self.overlap <= self.window / 2,
            "exponent": 0 < self.exponent < math.inf,
            "fft_seconds": 0 < self.fft_seconds <= 1,
            "reference_rms": self.reference_rms is None or 0 < self.reference_rms <= 1,
            "consistency": self.consistency in get_args(Consistency),
        }
        for name, fine in checks.items():
            if not fine:
                raise UsageError(
                    f"{name} = {getattr(self, name)} is out of range",
                    "the overlap is at most half the window; counts are at least 1; see --help for the rest",
                )
