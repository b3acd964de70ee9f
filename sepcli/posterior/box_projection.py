"""Sources between bounds that make a mixture: where a line, clipped, crosses the constraint.

The nearest point to a mean D, in the metric of variances C, under Σ α_k x_k = m and low ≤ x_k ≤ high is
clip(D + λ d), d_k = α_k C_k, for the λ with

    g(λ) = Σ_k α_k clip(D_k + λ d_k) + ν λ - m = 0

(ν = σ_y² for a mixture that is only known up to noise). g never falls, and is straight between the λ at which
a source meets a bound; so are the sources. They are found between two neighbours among those 2K values,
without iterations, and meet the mixture to rounding.

Source: the conditions of Karush, Kuhn and Tucker, as for the continuous knapsack problem (Brucker 1984).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sepcli.signal.mixing import WeightedSum

SLACK = 1e-5
"""How far beyond what sources within bounds can make a mixture may be, and counts as one that they make."""


def meet(
    mean: Tensor,
    way: Tensor,
    mixing: WeightedSum,
    mixture: Tensor,
    bounds: tuple[float, float],
    noise: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The point of clip(mean + λ way) that makes the mixture.

    Args:
        mean: D (B, K, C, *D).
        way: d, like ``mean``; α_k d_k ≥ 0.
        mixing: A.
        mixture: m (B, C, *D).
        bounds: low and high.
        noise: ν ≥ 0, a number or like ``mixture``.

    Returns:
        The sources, like ``mean``, and where they make the mixture, bool like it. Elsewhere there is no λ,
        and they are those that come closest.
    """
    low, high = bounds
    corners = torch.cat([(low - mean) / way, (high - mean) / way], dim=1)
    corners = torch.where(corners.isfinite(), corners, 0.0).sort(dim=1).values  # of no way, any point will do

    def at(corner: Tensor) -> tuple[Tensor, Tensor]:
        sources = (mean + way * corner[:, None]).clamp(low, high)
        return sources, mixing(sources) + noise * corner - mixture

    below, short = above, over = at(corners[:, 0])
    least = over
    for corner in corners[:, 1:].unbind(1):
        sources, excess = at(corner)
        further, first = excess <= 0.0, (over <= 0.0) & (excess > 0.0)
        above = torch.where((further | first)[:, None], sources, above)
        over = torch.where(further | first, excess, over)
        below = torch.where(further[:, None], sources, below)
        short = torch.where(further, excess, short)
    share = torch.where(over > short, -short / (over - short).clamp(min=torch.finfo(over.dtype).tiny), 0.0)
    found = below + share.clamp(0.0, 1.0)[:, None] * (above - below)
    certain = torch.as_tensor(noise == 0.0, device=mean.device)
    reached = ~certain | ((least <= SLACK) & (excess >= -SLACK))
    return found, reached.expand(mixture.shape)
