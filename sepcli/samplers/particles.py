"""Sequential Monte Carlo: particles weighted by how well the prior and the mixture explain their path.

Ancestral sampling with the estimate h of the clean sources given the mixture is a proposal q of the path; the
target is the path of the prior's own ancestral sampling, with its estimate D, given the mixture:

    x' ~ q: N(r x + (1-r) h, s²)     prior: N(r x + (1-r) D, s²)      r = (σ'/σ)²,  s² = σ'² (1 - r)
    w ← w · prior(x')/q(x')          in the end w ← w · p̃(m | x)

One of N particles, sampled by its weight, is a sample of the posterior of the prior that D defines, in the
limit of many particles, however wrong h is: whatever moments miss, such as the probability of each of several
modes, is corrected. For Gaussian priors with the covariance from the Jacobian all weights are equal.
p̃ = N(m; A D, v) is the likelihood of the mixture at the last noise level; on the way, where few particles
carry the weight, they are resampled by w · p̃.

Both estimates are extrapolated as by ``order=2`` of ``sepcli.samplers.projected``.

Source: Wu et al. 2023 (twisted diffusion sampler), algorithm 1; systematic resampling is from Carpenter,
    Clifford & Fearnhead 1999.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor

from sepcli.protocols import ProgressCallback, TwistedPosterior
from sepcli.samplers.projected import extrapolated
from sepcli.samplers.rng import Rng
from sepcli.samplers.schedules import karras
from sepcli.settings import check

FEW = 0.5
"""Particles are resampled where the effective number is below this share of them."""


@dataclass(frozen=True)
class Particles:
    """Sequential Monte Carlo; fulfils ``sepcli.protocols.Sampler`` on a posterior with a noisy mixture.

    Attributes:
        particles: Number N of particles per sample.
        steps: Number of noise levels.
        sigma_max: First noise level.
        sigma_min: Last noise level.
        rho: Spacing of the noise levels; 1 is even.

    Raises:
        UsageError: a setting is out of range.
    """

    particles: Annotated[int, Meta(ge=1, le=10_000)] = 8
    steps: Annotated[int, Meta(ge=1, le=100_000)] = 48
    sigma_max: Annotated[float, Meta(gt=0, le=1e6)] = 2.0
    sigma_min: Annotated[float, Meta(gt=0, le=1e6)] = 0.01
    rho: Annotated[float, Meta(gt=0, le=1e3)] = 7.0

    def __post_init__(self) -> None:
        check(self)
        self.sigmas()

    @property
    def evaluations(self) -> int:
        """Number of scores, N per noise level."""
        return self.steps * self.particles

    def sigmas(self) -> Tensor:
        """Return the noise levels (steps,), float64."""
        return karras(self.sigma_max, self.sigma_min, self.steps, self.rho)

    def __call__(
        self, posterior: TwistedPosterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Tensor:
        """Return the estimate of the particle that is sampled; see ``sepcli.protocols.Sampler``."""
        like, rng, sigmas = posterior.like, Rng(seeds), self.sigmas().tolist()
        weights = torch.zeros((self.particles, len(like)), dtype=torch.float64, device=like.device)
        before: tuple[float, Tensor] | None = None
        with torch.no_grad():
            start = [posterior.start + sigmas[0] * rng.normal(like) for _ in range(self.particles)]
            x = torch.stack(start)
            for step, (sigma, next_sigma) in enumerate(zip(sigmas, [*sigmas[1:], 0.0], strict=True)):
                parts = []
                for number, particle in enumerate(x):
                    parts.append(posterior.twisted(particle, torch.tensor(sigma).to(like)))
                    if on_progress is not None:
                        on_progress(step * self.particles + number + 1, self.evaluations)
                potentials = torch.stack([part.log_potential for part in parts]).double()
                both = torch.stack([torch.stack(part[:2]) for part in parts], dim=1)  # (2, N, B, ...)
                if not next_sigma:
                    chosen = _systematic(weights + potentials, rng.uniform(1).to(weights), 1)
                    return _taken(both[0], chosen)[0]
                before, weights, x, both = _resampled(before, weights, potentials, x, both, rng)
                moved = both if before is None else extrapolated(*before, both, sigma, next_sigma)
                noise = torch.stack([rng.normal(like) for _ in range(self.particles)])
                x, change = _step(x, moved, noise, sigma, next_sigma)
                weights, before = weights + change, (sigma, both)
        raise AssertionError("the last noise level returns")


def _step(
    x: Tensor, estimates: Tensor, noise: Tensor, sigma: float, next_sigma: float
) -> tuple[Tensor, Tensor]:
    """Return the next states (N, B, ...) and log prior(x')/q(x') (N, B), for h and D (2, N, B, ...)."""
    ratio = (next_sigma / sigma) ** 2
    std = next_sigma * math.sqrt(1.0 - ratio)
    posterior_mean, prior_mean = estimates
    apart = (1.0 - ratio) / std * (posterior_mean - prior_mean)
    change = -(apart * noise + 0.5 * apart.square()).double().flatten(2).sum(2)
    return ratio * x + (1.0 - ratio) * posterior_mean + std * noise, change


def _resampled(
    before: tuple[float, Tensor] | None,
    weights: Tensor,
    potentials: Tensor,
    x: Tensor,
    estimates: Tensor,
    rng: Rng,
) -> tuple[tuple[float, Tensor] | None, Tensor, Tensor, Tensor]:
    """Resample the particles of items where few carry the weight w · p̃; return what they carry on."""
    total = weights + potentials
    share = total.softmax(0)
    few = 1.0 / share.square().sum(0) < FEW * len(share)
    kept = torch.arange(len(share), device=share.device)[:, None].expand_as(share)
    index = torch.where(few, _systematic(total, rng.uniform(1).to(share), len(share)), kept)
    level = total.logsumexp(0) - math.log(len(share))
    weights = torch.where(few, level - potentials.gather(0, index), weights)
    estimates = torch.stack([_taken(part, index) for part in estimates])
    if before is not None:
        before = before[0], torch.stack([_taken(part, index) for part in before[1]])
    return before, weights, _taken(x, index), estimates


def _systematic(log_weights: Tensor, uniform: Tensor, count: int) -> Tensor:
    """Return indices (count, B) of particles, in proportion to weights (N, B), for uniform (B, 1)."""
    cumulative = log_weights.softmax(0).cumsum(0).T.contiguous()
    points = (torch.arange(count).to(uniform) + uniform) / count
    return torch.searchsorted(cumulative, points).clamp(max=len(log_weights) - 1).T


def _taken(x: Tensor, index: Tensor) -> Tensor:
    """Return rows (M, B, ...) of particles (N, B, ...) by indices (M, B)."""
    return x[index, torch.arange(x.shape[1], device=x.device)]
