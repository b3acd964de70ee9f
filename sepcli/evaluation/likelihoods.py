"""Log-likelihoods of separations under a prior that is a density: the likeliest sample, and typicality.

Source: Jayaram & Thickstun 2020 (BASIS), table 2 (Glow, 10x), and table 1, where log-likelihoods of
    separations and of test images under the prior of the least noise stand side by side.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sepcli.priors.images.glow import bits_per_dim, noisy
from sepcli.protocols import Engine
from sepcli.separation.independent import IndependentDensities

NLL, OURS, TRUTH = "nll", "sepcli", "truth"
"""The metric, and its rows: one sample, and the true sources."""


def likeliest(engine: Engine, samples: Tensor) -> Tensor:
    """Choose the samples (B, K, C, H, W) of (B, S, K, C, H, W) that are the most probable under the prior.

    Samples are clamped to [0, 1] before they are evaluated; a prior that is not a density ranks by its bound.
    """
    values = engine.log_prior(samples.clamp(0.0, 1.0).flatten(0, 1))
    if values is None:
        return samples[:, 0]
    return samples[torch.arange(len(samples)), values.view(samples.shape[:2]).argmax(1)]


def typicality(engine: Engine, sample: Tensor, truth: Tensor, rng: np.random.Generator) -> dict[str, float]:
    """Return bits per dimension of a sample and of the true sources, (K, C, H, W), under the least noise.

    Both get noise of the density's level, from ``rng``, a sample only if its sampler leaves
    it none: log p_σ is of noisy signals, and clean ones are likelier than these, true or not.

    Returns:
        By row; nothing if the prior is no density.
    """
    density = engine.density
    if not isinstance(density, IndependentDensities):
        return {}
    levels = torch.full((len(truth),), density.sigma)
    rows = torch.stack([sample if density.noisy else noisy(sample, levels, rng), noisy(truth, levels, rng)])
    rows = rows.to(engine.device)
    with torch.no_grad():
        return dict(zip((OURS, TRUTH), bits_per_dim(density.log_prob(rows), rows).tolist(), strict=True))
