"""The best of several separations of a mixture, and the nearest sources that make the mixture exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sepcli.signal.mixing import WeightedSum


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
    sources: Tensor, mixture: Tensor, weights: tuple[float, float], bounds: tuple[float, float] | None
) -> Tensor:
    """Project two sources (N, 2, C, *D) on those of m = α x_1 + β x_2 within bounds, α, β > 0.

    A mixture (N, C, *D) that no sources within the bounds have is clamped.
    """
    (a, b), (low, high) = weights, bounds or (-math.inf, math.inf)
    goal = mixture.clamp((a + b) * low, (a + b) * high)
    lowest, highest = ((goal - b * high) / a).clamp(min=low), ((goal - b * low) / a).clamp(max=high)
    first = (a * goal + b * b * sources[:, 0] - a * b * sources[:, 1]) / (a * a + b * b)
    first = torch.minimum(torch.maximum(first, lowest), highest)
    return torch.stack([first, (goal - a * first) / b], dim=1)
