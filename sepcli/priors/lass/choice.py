"""The best of several separations of a mixture, and the nearest sources that make the mixture exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sepcli.signal.mixing import WeightedSum


def candidate_seeds(seeds: Tensor, candidates: int) -> Tensor:
    """Derive the seeds of candidates from those of samples.

    Args:
        seeds: (B, S), int64.
        candidates: N, per sample.

    Returns:
        (B, S · N), sample after sample; a single candidate keeps its sample's seed.
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
    """Choose hypotheses of least cost.

    Args:
        cost: (B, N).
        samples: S.
        grouped: whether N/S hypotheses each belong to one sample, sample after sample; else the S best of all
            are chosen, the best first.

    Returns:
        Indices (B, S), int64.
    """
    if not grouped:
        return cost.argsort(dim=-1, stable=True)[:, :samples]
    of_sample = cost.view(len(cost), samples, -1)
    return of_sample.argmin(-1) + torch.arange(samples, device=cost.device) * of_sample.shape[-1]


def nearest_exact(
    sources: Tensor, mixture: Tensor, weights: tuple[float, float], bounds: tuple[float, float] | None
) -> Tensor:
    """Project two sources on those that make the mixture exactly and are within bounds.

    Args:
        sources: (N, 2, C, *D).
        mixture: (N, C, *D); beyond what sources within the bounds make, it is brought there.
        weights: α, β > 0 of the mixing m = α x_1 + β x_2.
        bounds: of every value of the sources; None: any value.

    Returns:
        (N, 2, C, *D).
    """
    (a, b), (low, high) = weights, bounds or (-math.inf, math.inf)
    goal = mixture.clamp((a + b) * low, (a + b) * high)
    lowest, highest = ((goal - b * high) / a).clamp(min=low), ((goal - b * low) / a).clamp(max=high)
    first = (a * goal + b * b * sources[:, 0] - a * b * sources[:, 1]) / (a * a + b * b)
    first = torch.minimum(torch.maximum(first, lowest), highest)
    return torch.stack([first, (goal - a * first) / b], dim=1)
