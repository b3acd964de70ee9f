"""The diffusion bound on log p(x) for a prior that provides only scores.

With y = x + σ n, n ~ N(0, I), and D the prior's denoiser, D(y, σ) = y + σ² score(y, σ), the divergence of
p(y | x) = N(y; x, σ² I) from p_σ(y) falls as the noise rises, by the pointwise I-MMSE relation

    d/dσ KL(p(y | x) ‖ p_σ(y)) = -E‖x - D(y, σ)‖²/σ³                            (exact D)

integrated from σ_min to σ_max. For large σ the divergence is 0, for small σ it is -log p(x) plus a term that
depends on σ only, so that

    log p(x) = const - ∫ E‖x - D(y, σ)‖²/σ² d ln σ = const - ∫ E‖n + σ score(x + σ n, σ)‖² d ln σ

With a network for D the right-hand side is the evidence lower bound of the diffusion model that the network
defines. A finite range gives E log p_σ(x + σ n) at σ_min minus the same at σ_max: it excludes detail finer
than σ_min and the coarse structure that is still visible at σ_max.

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
    """Estimate the bound (B,), float64, on log p(x) at x (B, K, C, *D), up to a constant, by Monte Carlo.

    The noise levels are the midpoints of equal intervals of ln σ; the prior is evaluated 2 ``levels`` times.
    All items share the same noise, used with both signs (antithetic), so that most of the Monte Carlo error
    cancels in differences between items; only these are meaningful. An item does not depend on its batch.

    Raises:
        UsageError: the range is empty or not positive, or there are no levels.
    """
    if not (0.0 < sigma_min < sigma_max < math.inf and levels >= 1):
        raise UsageError(
            f"{levels} noise levels between {sigma_min} and {sigma_max} give no bound",
            "use levels >= 1 and sigma_max > sigma_min > 0",
        )
    rng = torch.Generator().manual_seed(seed)
    width = math.log(sigma_max / sigma_min) / levels
    total = torch.zeros(x.shape[0], dtype=torch.float64, device=x.device)
    with torch.no_grad():
        for level in range(levels):
            sigma = x.new_tensor(sigma_max * math.exp(-(level + 0.5) * width))
            noise = torch.randn(x.shape[1:], generator=rng, dtype=x.dtype).to(x.device)
            for n in (noise, -noise):
                error = n + sigma * prior.score(x + sigma * n, sigma)  # (D - x)/σ
                total -= 0.5 * width * error.double().square().flatten(1).sum(1)
    return total
