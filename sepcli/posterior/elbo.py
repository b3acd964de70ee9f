"""How probable sources are to a prior that only knows scores: the diffusion bound on log p(x).

With y = x + σ n, n ~ N(0, I), and D the prior's denoiser, D(y, σ) = y + σ² score(y, σ), the divergence of
p(y | x) = N(y; x, σ² I) from p_σ(y) falls as the noise rises, by the pointwise I-MMSE relation

    d/dσ KL(p(y | x) ‖ p_σ(y)) = -E‖x - D(y, σ)‖²/σ³                            (exact D)

It is integrated from σ_min to σ_max. For a large σ the divergence is 0, for a small one it is -log p(x) plus
what depends on σ alone, so that

    log p(x) = const - ∫ E‖x - D(y, σ)‖²/σ² d ln σ = const - ∫ E‖n + σ score(x + σ n, σ)‖² d ln σ

With the D of a network the right side is the evidence lower bound of the diffusion model that it defines. A
finite range counts E log p_σ(x + σ n) at σ_min less the same at σ_max: it leaves out detail finer than σ_min,
and the coarse look of x that is still seen through σ_max.

Source: Kingma et al. 2021 (variational diffusion models), the loss in continuous time; Kong, Brekelmans & Ver
    Steeg 2023 (information-theoretic diffusion); Guo, Shamai & Verdú 2005 (I-MMSE).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.protocols import ScorePrior


def log_density_bound(
    prior: ScorePrior,
    x: Tensor,
    *,
    levels: int = 8,
    sigma_max: float = 1.0,
    sigma_min: float = 0.05,
    seed: int = 0,
) -> Tensor:
    """A Monte Carlo estimate of the diffusion bound on log p(x), up to a constant of shape and noise.

    All items meet the same noise, and every noise with both signs: in differences between items, which are
    all that means something, most of the Monte Carlo error cancels. The prior is asked 2 ``levels`` times.

    Args:
        prior: p_σ(x) of the K sources side by side.
        x: sources (B, K, C, *D), on the prior's device.
        levels: how many σ, in the middles of equal parts of the range of ln σ.
        sigma_max: the greatest noise, in the units of x.
        sigma_min: the least.
        seed: of the noise.

    Returns:
        (B,) float64, in nats. An item's value does not depend on its batch.

    Raises:
        UsageError: the range is empty or not of positive numbers, or there are no levels.
    """
    if not (0.0 < sigma_min < sigma_max < math.inf and levels >= 1):
        raise UsageError(
            f"no bound from {levels} noise levels between {sigma_min} and {sigma_max}",
            "use one or more, and sigma_max > sigma_min > 0",
        )
    rng = torch.Generator().manual_seed(seed)
    part = math.log(sigma_max / sigma_min) / levels
    total = torch.zeros(x.shape[0], dtype=torch.float64, device=x.device)
    with torch.no_grad():
        for level in range(levels):
            sigma = x.new_tensor(sigma_max * math.exp(-(level + 0.5) * part))
            noise = torch.randn(x.shape[1:], generator=rng, dtype=x.dtype).to(x.device)
            for n in (noise, -noise):
                error = n + sigma * prior.score(x + sigma * n, sigma)  # (D - x)/σ
                total -= 0.5 * part * error.double().square().flatten(1).sum(1)
    return total
