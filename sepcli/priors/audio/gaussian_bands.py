"""A Gaussian prior on MDCT coefficients: zero mean, independent, with a variance v per cell or band.

Its moments and score at noise level σ have closed forms:

    D = v/(v + σ²) x        C = v σ²/(v + σ²)        ∇ log p_σ(x) = -x/(v + σ²)

``fit_other`` estimates such a prior from a mixture, as the prior of everything that the other priors do not
model: its power is a fraction of the local power of the mixture, without finer structure. If all sources are
Gaussian, separation is the Wiener filter; trained priors claim their part of the mixture first.

Source: the Wiener filter with the local Gaussian model (Duong et al. 2010), here as one prior among others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 1e-4
"""Floor of the standard deviation of a cell: 80 dB below full scale."""
SECONDS = 0.75
"""Duration over which the power is averaged."""
OCTAVES = 1 / 3
"""Octaves over which the power is averaged."""
MIN_BANDS = 5
"""Least number of bands over which the power is averaged."""


@dataclass(frozen=True)
class GaussianBands:
    """p(x) of one source; fulfils ``sepcli.protocols.DenoisingPrior``.

    Attributes:
        variance: v, positive: (B, M, N), or with 1 instead of B, N or both.
    """

    variance: Tensor
    has_variance = True

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return ∇ log p_σ at x (B, 1, 1, M, N) for σ ()."""
        return -x / (self.variance[:, None, None] + sigma**2)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean D and variance C of the clean coefficients, each of the shape of x."""
        v = self.variance[:, None, None]
        gain = v / (v + sigma**2)
        return gain * x, (gain * sigma**2).expand_as(x)


def fit_other(mixture: Tensor, fraction: float, frames: float) -> GaussianBands:
    """Estimate the prior of the source ``other`` of mixtures (B, 1, M, N).

    It has a fraction, in (0, 1], of the local power of the mixture, averaged over ``frames`` (see
    ``SECONDS``).
    """
    power = _over_bands(_over_frames(mixture[:, 0].square(), frames))
    return GaussianBands((fraction * power).clamp_min(FLOOR**2))


def _over_frames(power: Tensor, frames: float) -> Tensor:
    """Average power (B, M, N) over about ``frames`` neighboring frames, fewer at the ends."""
    reach = max(1, round((frames - 1) / 2))
    return F.avg_pool1d(power, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)


def _over_bands(power: Tensor) -> Tensor:
    """Average power (B, M, N) over bands within ``OCTAVES``, ``MIN_BANDS`` or more, fewer at the ends."""
    centers = torch.arange(power.shape[1], device=power.device, dtype=power.dtype) + 0.5
    reach = (centers * (2 ** (OCTAVES / 2) - 1)).clamp_min(MIN_BANDS / 2)
    neighbors = ((centers[None] - centers[:, None]).abs() <= reach[:, None]).to(power)
    return (neighbors / neighbors.sum(dim=1, keepdim=True)) @ power
