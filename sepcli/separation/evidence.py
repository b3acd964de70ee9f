"""The evidence p(m | prior) of a mixture, from the states that samples of its posterior pass through.

With noisy states x_σ = x_0 + σ ε of the posterior, and D and h the means of x_0 given x_σ without and with m,

    log p(m) = E log p(m | x_0) - KL(p(x_0 | m) ‖ p(x_0))
    KL = ∫ E ‖∇ log p_σ(x_σ | m) - ∇ log p_σ(x_σ)‖² σ dσ = ∫ E ‖h - D‖²/σ² d ln σ

because noise makes two distributions equal in the end, at the rate of their relative Fisher information. h
and D are computed at every step of a sampler anyway, and vary smoothly with σ. Below the last noise level the
integrand falls as σ², above the first as 1/σ²: half of its value there is added for each. The mixture has
noise of standard deviation σ_y > 0, without which its likelihood has no density.

The bias is that of h: none for Gaussian priors with the covariance from the Jacobian. Where h moves too
little, the divergence is too small, and the evidence too great.

Source: Wang & Bouman 2026 (DiME, arXiv 2602.20549), the idea; the identity is de Bruijn's for relative
    entropies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.posterior.dirac import DiracPosterior
from sepcli.protocols import ScorePrior
from sepcli.samplers.projected import Projected
from sepcli.separation.seeds import sample_seeds
from sepcli.signal.mixing import WeightedSum


@dataclass(frozen=True)
class Evidence:
    """The evidence of one mixture.

    Attributes:
        log_evidence: log p(m) in nats, of the density of the mixture's values.
        error: standard error of the mean over samples.
        log_likelihood: E log p(m | x_0).
        divergence: KL(p(x_0 | m) ‖ p(x_0)), what the mixture says of the sources.
        values: number of values of the mixture.
    """

    log_evidence: float
    error: float
    log_likelihood: float
    divergence: float
    values: int

    @property
    def per_value(self) -> float:
        """Nats per value."""
        return self.log_evidence / self.values


class _Watched:
    """A prior that keeps its last score."""

    def __init__(self, prior: ScorePrior) -> None:
        self.prior, self.last = prior, torch.empty(0)

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return ∇ log p_σ at x (B, K, C, *D) for σ ()."""
        score = self.prior.score(x, sigma)
        self.last = score.detach()
        return score


class _Tallied(DiracPosterior):
    """A posterior that keeps ‖h - D‖²/σ² (B,) of every evaluation."""

    def __init__(
        self, prior: _Watched, mixing: WeightedSum, mixture: Tensor, sigma_y: float, products: int
    ) -> None:
        super().__init__(prior, mixing, mixture, sigma_y=sigma_y, products=products)
        self.watched, self.rates = prior, list[Tensor]()

    def score(self, state: Tensor, sigma: Tensor) -> Tensor:
        """Return the score at the state for σ ()."""
        score = super().score(state, sigma)
        self.rates.append((sigma * (score - self.watched.last)).double().square().flatten(1).sum(1))
        return score


def evidence(
    prior: ScorePrior,
    weights: Sequence[float],
    mixture: Tensor,
    *,
    sigma_y: float,
    sigma_max: float,
    steps: int = 64,
    samples: int = 20,
    products: int = 2,
    seed: int = 0,
) -> Evidence:
    """Estimate the evidence of a mixture (C, *D).

    Args:
        prior: p_σ(x) of the K sources side by side.
        weights: α_k of the mixture.
        mixture: m, in the units of the prior.
        sigma_y: standard deviation of the mixture's noise, or of the rounding of its values.
        sigma_max: first noise level, several times the standard deviation of the prior.
        steps: number of noise levels; the last is σ_y/5.
        samples: of the posterior.
        products: vector-Jacobian products per evaluation; 0: independent values.
        seed: of the samples.

    Raises:
        UsageError: σ_y is 0 or not below ``sigma_max``, or there are fewer than 2 samples.
    """
    if not 0.0 < sigma_y < sigma_max or samples < 2:
        raise UsageError(
            f"no evidence with {samples} samples, sigma_y={sigma_y} and sigma_max={sigma_max}",
            "use 2 samples or more, and 0 < sigma_y < sigma_max",
            argument="sigma_y",
        )
    mixing, repeated = WeightedSum(tuple(weights)), mixture.expand(samples, *mixture.shape)
    sampler = Projected(steps, sigma_max, sigma_y / 5.0, rho=7.0, eta=None, order=2)
    posterior = _Tallied(_Watched(prior), mixing, repeated, sigma_y, products)
    sources = sampler(posterior, torch.tensor(sample_seeds(seed, 0, samples)))
    residual = (repeated - mixing(sources)).double().flatten(1).cpu()
    divergence = _integral(torch.stack(posterior.rates).cpu(), sampler.sigmas())
    count = residual.shape[1]
    likelihood = -0.5 * (residual / sigma_y).square().sum(1)
    likelihood = likelihood - 0.5 * count * math.log(2.0 * math.pi * sigma_y**2)
    total = likelihood - divergence
    return Evidence(
        log_evidence=float(total.mean()),
        error=float(total.std() / math.sqrt(samples)),
        log_likelihood=float(likelihood.mean()),
        divergence=float(divergence.mean()),
        values=count,
    )


def _integral(rates: Tensor, sigmas: Tensor) -> Tensor:
    """Integrate rates (L, B) over ln σ, with what is beyond the levels (L,); (B,)."""
    widths = -sigmas.log().diff()
    inside = (0.5 * (rates[1:] + rates[:-1]) * widths[:, None]).sum(0)
    return inside + 0.5 * (rates[0] + rates[-1])
