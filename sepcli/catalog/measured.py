"""What a card holds of measurements that decide how its prior is used."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

REJECTED = 0.05
"""p-value below which calibration is rejected."""
COVERED = (0.87, 0.93)
"""Range of the coverage of calibrated 90 % intervals."""
Share = Annotated[float, Meta(ge=0, le=1)]


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Denoising errors of mixtures that a prior explains, by its default sampler.

    Attributes:
        sigma: σ of the noise, in the units of the engine; see ``sepcli.separation.fit``.
        errors: of every mixture, dB.
        data: the mixtures, one sentence.
    """

    sigma: Annotated[float, Meta(gt=0, le=1e6)]
    errors: Annotated[tuple[float, ...], Meta(min_length=20, max_length=1000)]
    data: str = ""


class Draws(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calibration of samples by the preset ``draws``, of mixtures of samples of the prior itself.

    Attributes:
        mixtures: that were sampled.
        samples: of each, enough for 90 % intervals.
        p_value: of ranks and distances together; see ``sepcli.evaluation.calibration``.
        coverage: share of values within their 90 % interval.
    """

    mixtures: Annotated[int, Meta(ge=20, le=1_000_000)]
    samples: Annotated[int, Meta(ge=19, le=1_000_000)]
    p_value: Share
    coverage: Share

    @property
    def calibrated(self) -> bool:
        """Whether they pass both tests: several samples use ``draws`` then."""
        return self.p_value > REJECTED and COVERED[0] <= self.coverage <= COVERED[1]
