"""What a prior that is a density says of separations: the likeliest of several draws, and how typical it is.

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
"""The metric, and its rows: one draw, and the true sources."""


def likeliest(separator: Engine, draws: Tensor) -> Tensor:
    """The draws (B, K, C, H, W), of S each, (B, S, K, C, H, W), that are the most probable to the prior.

    Draws are clamped to [0, 1] before they are asked about; a prior that is no density ranks by its bound.
    """
    known = separator.log_prior(draws.clamp(0.0, 1.0).flatten(0, 1))
    if known is None:
        return draws[:, 0]
    return draws[torch.arange(len(draws)), known.view(draws.shape[:2]).argmax(1)]


def typicality(separator: Engine, drawn: Tensor, truth: Tensor, rng: np.random.Generator) -> dict[str, float]:
    """Bits per dimension of a draw and of the true sources, both (K, C, H, W), under the least noise.

    Both get noise of the level that the density is asked at, from ``rng``, a draw only if its sampler leaves
    it none: log p_σ is of noisy signals, and clean ones are likelier than these, true or not.

    Returns:
        By row; nothing if the prior is no density.
    """
    density = separator.density
    if not isinstance(density, IndependentDensities):
        return {}
    levels = torch.full((len(truth),), density.sigma)
    rows = torch.stack([drawn if density.noisy else noisy(drawn, levels, rng), noisy(truth, levels, rng)])
    rows = rows.to(separator.device)
    with torch.no_grad():
        return dict(zip((OURS, TRUTH), bits_per_dim(density.log_prob(rows), rows).tolist(), strict=True))
