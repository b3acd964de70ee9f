"""Projection of estimates onto the sources within bounds that sum to a mixture.

The nearest point to a mean D, in the metric of variances C, under Σ α_k x_k = m and low ≤ x_k ≤ high is
clip(D_k + λ d_k), d_k = α_k C_k, for the λ with

    g(λ) = Σ_k α_k clip(D_k + λ d_k) + ν λ - m = 0

(ν = σ_y² for a mixture with noise). g is non-decreasing and piecewise linear, with breakpoints
at the 2K values of λ where a source reaches a bound. The root is interpolated between the two neighboring
breakpoints: there are no iterations, and the mixture is met up to rounding.

Source: the Karush-Kuhn-Tucker conditions, as for the continuous knapsack problem (Brucker 1984).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sepcli.signal.mixing import WeightedSum

TOLERANCE = 1e-5
"""Distance of a mixture from the range of sources within the bounds up to which it counts as feasible."""


def project(
    mean: Tensor,
    direction: Tensor,
    mixing: WeightedSum,
    mixture: Tensor,
    bounds: tuple[float, float],
    noise: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the point clip(mean + λ direction) that sums to the mixture, and whether it does.

    The mean D (B, K, C, *D) and the direction d, α_k d_k ≥ 0, are of one shape; the noise ν ≥ 0 is a number
    or of the shape of the mixture (B, C, *D), as is the bool mask. Where no λ sums to the mixture, the
    sources are the closest within the bounds (low, high).
    """
    low, high = bounds
    breakpoints = torch.cat([(low - mean) / direction, (high - mean) / direction], dim=1)
    breakpoints = torch.where(breakpoints.isfinite(), breakpoints, 0.0)  # direction 0: any λ will do
    breakpoints = breakpoints.sort(dim=1).values

    def at(multiplier: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sources at λ, and g(λ)."""
        sources = (mean + direction * multiplier[:, None]).clamp(low, high)
        return sources, mixing(sources) + noise * multiplier - mixture

    below, g_below = above, g_above = at(breakpoints[:, 0])
    g_first = g_above
    for breakpoint in breakpoints[:, 1:].unbind(1):
        sources, g = at(breakpoint)
        negative, crossing = g <= 0.0, (g_above <= 0.0) & (g > 0.0)
        above = torch.where((negative | crossing)[:, None], sources, above)
        g_above = torch.where(negative | crossing, g, g_above)
        below = torch.where(negative[:, None], sources, below)
        g_below = torch.where(negative, g, g_below)
    slope = (g_above - g_below).clamp(min=torch.finfo(g_above.dtype).tiny)
    fraction = torch.where(g_above > g_below, -g_below / slope, 0.0)
    projected = below + fraction.clamp(0.0, 1.0)[:, None] * (above - below)
    exact = torch.as_tensor(noise == 0.0, device=mean.device)
    feasible = ~exact | ((g_first <= TOLERANCE) & (g >= -TOLERANCE))
    return projected, feasible.expand(mixture.shape)
