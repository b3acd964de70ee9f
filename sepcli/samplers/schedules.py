"""Noise levels σ, from the greatest to the least: float64 (L,), in the units of the data.

Source: Song & Ermon 2019, section 4 (geometric); Karras et al. 2022 (EDM), equation 5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sepcli.errors import UsageError


def geometric(sigma_max: float = 1.0, sigma_min: float = 0.01, levels: int = 10) -> Tensor:
    """σ_i/σ_{i+1} constant; the defaults are those of BASIS for data in [0, 1].

    Raises:
        UsageError: The levels do not fall, or there are none.
    """
    _check(sigma_max, sigma_min, levels)
    return torch.logspace(0.0, 1.0, levels, base=sigma_min / sigma_max, dtype=torch.float64) * sigma_max


def karras(sigma_max: float, sigma_min: float, levels: int, rho: float = 7.0) -> Tensor:
    """σ^{1/ρ} evenly spaced: the greater ρ, the more of the levels are small.

    Raises:
        UsageError: The levels do not fall, there are none, or ρ is not positive.
    """
    _check(sigma_max, sigma_min, levels)
    if not rho > 0.0:
        raise UsageError(f"rho is {rho}", "Use more than 0; 1 spaces the levels evenly.")
    return torch.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), levels, dtype=torch.float64) ** rho


def uniform(sigma_max: float, sigma_min: float, levels: int) -> Tensor:
    """σ evenly spaced.

    Raises:
        UsageError: The levels do not fall, or there are none.
    """
    return karras(sigma_max, sigma_min, levels, rho=1.0)


def _check(sigma_max: float, sigma_min: float, levels: int) -> None:
    if not 0.0 < sigma_min <= sigma_max < float("inf"):
        raise UsageError(
            f"noise cannot fall from {sigma_max} to {sigma_min}", "Use sigma_max > sigma_min > 0."
        )
    if levels < 1:
        raise UsageError(f"{levels} noise levels", "Use 1 or more.")
