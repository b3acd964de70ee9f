"""Noise schedules: noise levels σ in decreasing order, float64 (L,), in the units of the data.

All raise UsageError for a range that is not positive or not in order, and without levels.

Source: Song & Ermon 2019, section 4 (geometric); Karras et al. 2022 (EDM), equation 5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sepcli.errors import UsageError


def geometric(sigma_max: float = 1.0, sigma_min: float = 0.01, levels: int = 10) -> Tensor:
    """Return noise levels of constant ratio σ_i/σ_{i+1}; the defaults are those of BASIS."""
    _check(sigma_max, sigma_min, levels)
    return torch.logspace(0.0, 1.0, levels, base=sigma_min / sigma_max, dtype=torch.float64) * sigma_max


def karras(sigma_max: float, sigma_min: float, levels: int, rho: float = 7.0) -> Tensor:
    """Return noise levels evenly spaced in σ^{1/ρ}: the greater ρ, the more of them are small."""
    _check(sigma_max, sigma_min, levels)
    if not rho > 0.0:
        raise UsageError(f"rho is {rho}", "use a positive number; 1 spaces the noise levels evenly")
    return torch.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), levels, dtype=torch.float64) ** rho


def _check(sigma_max: float, sigma_min: float, levels: int) -> None:
    if not 0.0 < sigma_min <= sigma_max < float("inf"):
        raise UsageError(
            f"sigma_max={sigma_max} and sigma_min={sigma_min} are not a range of noise levels",
            "use sigma_max >= sigma_min > 0",
            argument="settings.sigma_max",
        )
    if levels < 1:
        raise UsageError(f"the number of noise levels is {levels}", "use 1 or more")
