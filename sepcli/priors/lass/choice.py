"""The best of several separations of a mixture, and the nearest sources that make the mixture exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sepcli.signal.mixing import WeightedSum

BISECTIONS = 40
"""Halvings of the interval of the multiplier of a projection; float32 has no finer ones."""


def candidate_seeds(seeds: Tensor, candidates: int) -> Tensor:
    """Derive the seeds (B, S · N) of N candidates per sample from those of samples (B, S), int64.

    A single candidate keeps its sample's seed.
    """
    if candidates == 1:
        return seeds
    rows = [
        np.random.default_rng(seed % (1 << 64)).integers(1 << 63, size=candidates)
        for seed in seeds.flatten().tolist()
    ]
    return torch.from_numpy(np.stack(rows)).view(len(seeds), -1)


def squared_error(sources: Tensor, mixture: Tensor, weights: Sequence[float]) -> Tensor:
    """‖m - Σ α_k x_k‖² of sources (B, N, K, C, *D) and mixtures (B, C, *D): (B, N)."""
    mixed = WeightedSum(tuple(weights))(sources.flatten(0, 1)).view(*sources.shape[:2], *mixture.shape[1:])
    error: Tensor = (mixture[:, None] - mixed).square().flatten(2).sum(-1)
    return error


def least(cost: Tensor, samples: int, grouped: bool) -> Tensor:
    """Return the indices (B, S) of the hypotheses of least cost (B, N), the best first.

    If ``grouped``, N/S hypotheses each belong to one sample, sample after sample, and one of each is chosen.
    """
    if not grouped:
        return cost.argsort(dim=-1, stable=True)[:, :samples]
    of_sample = cost.view(len(cost), samples, -1)
    return of_sample.argmin(-1) + torch.arange(samples, device=cost.device) * of_sample.shape[-1]


def nearest_exact(
    sources: Tensor, mixture: Tensor, weights: tuple[float, ...], bounds: tuple[float, float] | None
) -> Tensor:
    """Project K sources (N, K, C, *D) on those of m = Σ α_k x_k within bounds, α_k > 0.

    A mixture (N, C, *D) that no sources within the bounds have is clamped.
    """
    if len(weights) > 2:
        return _nearest_of_many(sources, mixture, weights, bounds)
    (a, b), (low, high) = weights, bounds or (-math.inf, math.inf)
    goal = mixture.clamp((a + b) * low, (a + b) * high)
    lowest, highest = ((goal - b * high) / a).clamp(min=low), ((goal - b * low) / a).clamp(max=high)
    first = (a * goal + b * b * sources[:, 0] - a * b * sources[:, 1]) / (a * a + b * b)
    first = torch.minimum(torch.maximum(first, lowest), highest)
    return torch.stack([first, (goal - a * first) / b], dim=1)


def _nearest_of_many(
    sources: Tensor, mixture: Tensor, weights: tuple[float, ...], bounds: tuple[float, float] | None
) -> Tensor:
    """Project on x_k = clamp(y_k + α_k t), the minimum's form, with t per value by bisection."""
    alpha = torch.tensor(weights, device=sources.device).view(-1, *[1] * (sources.dim() - 2))
    if bounds is None:
        left = mixture - (alpha * sources).sum(1)
        return sources + alpha * (left / alpha.square().sum())[:, None]
    low, high = bounds
    goal = mixture.clamp(sum(weights) * low, sum(weights) * high)
    reach = ((high - low) + (sources - low).abs().amax(1)) / min(weights)
    below, above = -reach, reach
    for _ in range(BISECTIONS):
        middle = (below + above) / 2
        short = (alpha * (sources + alpha * middle[:, None]).clamp(low, high)).sum(1) < goal
        below, above = torch.where(short, middle, below), torch.where(short, above, middle)
    return (sources + alpha * above[:, None]).clamp(low, high)
