"""A Gaussian prior on MDCT coefficients: zero mean, independent, a variance v for every cell or band.

Seen through noise of σ, all of it is known in closed form:

    D = v/(v + σ²) x        C = v σ²/(v + σ²)        ∇ log p_σ(x) = -x/(v + σ²)

``fit_rest`` measures such a prior on a mixture. It stands for whatever no other prior explains: as loud in
every band and moment as some share of what is heard there, and with no structure finer than that. Sources
that are all Gaussian get Wiener's filter; a named prior takes from it the sounds that it knows.

Source: Wiener's filter with the local Gaussian model (Duong et al. 2010), here as one prior beside others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 1e-4
"""The least standard deviation of a cell: 80 dB below full scale."""
SECONDS = 0.75
"""Power is averaged over so long a time,"""
OCTAVES = 1 / 3
"""over so many octaves,"""
BANDS = 5
"""and over so many bands at least."""


@dataclass(frozen=True)
class GaussianBands:
    """p(x) of one source; fulfils ``sepcli.protocols.DenoisingPrior``.

    Attributes:
        variance: v, positive: (B, M, N), or with 1 in the place of B, N or both.
    """

    variance: Tensor

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, 1, 1, M, N) for σ ()."""
        return -x / (self.variance[:, None, None] + sigma**2)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean D and variance C of the clean coefficients, each like x."""
        v = self.variance[:, None, None]
        gain = v / (v + sigma**2)
        return gain * x, (gain * sigma**2).expand_as(x)


def fit_rest(mixture: Tensor, share: float, frames: float) -> GaussianBands:
    """What may be left of mixtures when all that is known has been taken out.

    Args:
        mixture: (B, 1, M, N).
        share: of the mixture's power around a cell, in (0, 1]: the larger, the more stays in the rest.
        frames: how many frames the power is averaged over; see ``SECONDS``.
    """
    power = _over_bands(_over_frames(mixture[:, 0].square(), frames))
    return GaussianBands((share * power).clamp_min(FLOOR**2))


def _over_frames(power: Tensor, frames: float) -> Tensor:
    """The mean of about so many neighbouring frames, of fewer at the ends; (B, M, N)."""
    reach = max(1, round((frames - 1) / 2))
    return F.avg_pool1d(power, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)


def _over_bands(power: Tensor) -> Tensor:
    """The mean of the bands within ``OCTAVES`` of each, ``BANDS`` or more, fewer at the ends; (B, M, N)."""
    centres = torch.arange(power.shape[1], device=power.device, dtype=power.dtype) + 0.5
    reach = (centres * (2 ** (OCTAVES / 2) - 1)).clamp_min(BANDS / 2)
    near = ((centres[None] - centres[:, None]).abs() <= reach[:, None]).to(power)
    return (near / near.sum(dim=1, keepdim=True)) @ power
