"""Stream settings: windows, samples and consistency of recordings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from sepcli.errors import UsageError
from sepcli.settings import check

Consistency = Literal["wiener", "residual", "project", "none"]


@dataclass(frozen=True)
class StreamSettings:
    """Windows, samples and consistency of the separation of recordings.

    Attributes:
        window: seconds that the engine is given at once.
        overlap: seconds of crossfade between windows, at most half a window.
        batch: windows that the engine is given side by side; changes speed and memory only.
        samples: S, posterior samples per window.
        keep_samples: write every sample as a separate set of stems, instead of one set from all of them.
        consistency: wiener: masks on the mixture; residual: estimates, and masks on what they lack of it;
            project: estimates, and equal parts of that; none: bare estimates.
        exponent: of the masks.
        fft_seconds: the short-time window of the masks, rounded to the next power of two in samples.
        side: separate what the mean of the channels lacks, too, where it exceeds -25 dB of the mean; 0:
            the mean alone, in half the time.
        confidence_excess: dB by which the confidence of the default sampler's samples exceeds, in the median,
            what their mean attains on recordings with references; the reported confidence is lowered by it.
        reference_rms: level that the mixture is brought to for the engine; none leaves it as it is.

    Raises:
        UsageError: a value is out of range.
    """

    window: Annotated[float, Meta(ge=0.05, le=600)] = 3.0
    overlap: Annotated[float, Meta(ge=0, le=300)] = 0.5
    batch: Annotated[int, Meta(ge=1, le=4096)] = 8
    samples: Annotated[int, Meta(ge=1, le=1000)] = 1
    keep_samples: bool = False
    consistency: Consistency = "wiener"
    exponent: Annotated[float, Meta(ge=0.01, le=50)] = 2.0
    fft_seconds: Annotated[float, Meta(ge=0.001, le=1)] = 0.05
    side: bool = True
    confidence_excess: Annotated[float, Meta(ge=-60, le=60)] = 0.0
    reference_rms: Annotated[float, Meta(ge=0.0001, le=1)] | None = 0.1

    def __post_init__(self) -> None:
        check(self)
        if self.overlap > self.window / 2:
            raise UsageError(
                f"overlap={self.overlap:g} is more than half the window of {self.window:g} s",
                "use a smaller overlap or a larger window",
                argument="settings.overlap",
            )
