"""The denoising error of separated sources, by which ``sepcli.separation.fit`` assesses a prior."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sepcli.protocols import Engine, FittingEngine, ScorePrior
from sepcli.samplers.rng import Rng
from sepcli.separation.fit import DenoisingError


def denoising_energies(
    prior: ScorePrior,
    weights: Sequence[float],
    mixture: Tensor,
    sources: Tensor,
    sigma: float,
    seeds: Tensor,
) -> Tensor:
    """Return the energies (B, 2) of the denoising error Σ_k α_k (D_k - x_k), and of the mixture.

    Args:
        prior: p_σ(x) of the K sources side by side.
        weights: α_k.
        mixture: m (B, C, *D).
        sources: x (B, K, C, *D), unweighted.
        sigma: σ of the noise.
        seeds: of the noise, (B,) or (B, Z); see ``sepcli.samplers.rng``.
    """
    level = torch.tensor(sigma).to(sources)
    with torch.no_grad():
        noise = level * Rng(seeds).normal(sources)
        change = noise + level**2 * prior.score(sources + noise, level)  # D - x
    alphas = torch.tensor(list(weights)).to(change).view(-1, *[1] * (change.dim() - 2))
    error = (alphas * change).double().square().flatten(1).sum(1)
    return torch.stack([error, mixture.to(error.device).double().square().flatten(1).sum(1)], dim=1).cpu()


def image_errors(
    engine: Engine, mixtures: Tensor, sources: Tensor, sigma: float, seeds: Tensor
) -> list[float | None]:
    """Return the denoising error of the sources (B, K, C, H, W) of every mixture (B, C, H, W), in dB.

    None: the engine does not measure it, or the mixture is black.
    """
    if not isinstance(engine, FittingEngine):
        return [None] * len(mixtures)
    errors: list[float | None] = []
    for pair in engine.denoising_energies(mixtures, sources, sigma, seeds).tolist():
        error = DenoisingError()
        error.add([pair])
        errors.append(error.decibels)
    return errors
