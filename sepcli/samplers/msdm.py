"""Multi-source diffusion: Euler steps along the probability flow, with churn and repeated steps.

    σ̂ = σ (1 + γ),  x̂ = x + √(σ̂² - σ²) ε,  γ = min(churn/N, √2 - 1)          churn: added noise
    x' = x̂ + (σ' - σ̂) · (-σ̂ ∇ log p_σ̂(x̂ | m))                               Euler step
    x ← x' + √(σ² - σ'²) ε and repeat, R - 1 times                             repeats

On a ``DiracPosterior`` all sources are treated equally, where the paper defines one as the remainder of the
mixture. Without churn the sampler is ``Projected`` with η = 0. With churn it samples the same posterior and
corrects errors of earlier steps.

Source: Mariani et al. 2023, algorithm 1 (churn 20 to 40, R = 2, 150 levels, ρ = 7); Karras et al. 2022,
    algorithm 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor

from sepcli.protocols import Posterior, ProgressCallback
from sepcli.samplers.rng import Rng
from sepcli.samplers.schedules import karras
from sepcli.settings import check


@dataclass(frozen=True)
class MultiSource:
    """Stochastic Euler steps; fulfils ``sepcli.protocols.Sampler``. The defaults are for audio in [-1, 1].

    Attributes:
        steps: Number of noise levels N.
        repeats: Number of evaluations R at every noise level.
        churn: Amount of noise added over all noise levels.
        sigma_max: First noise level.
        sigma_min: Last noise level.
        rho: Spacing of the noise levels; 1 is even.

    Raises:
        UsageError: a setting is out of range.
    """

    steps: Annotated[int, Meta(ge=1, le=100_000)] = 150
    repeats: Annotated[int, Meta(ge=1, le=1_000)] = 2
    churn: Annotated[float, Meta(ge=0, le=1e6)] = 20.0
    sigma_max: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    sigma_min: Annotated[float, Meta(gt=0, le=1e6)] = 1e-4
    rho: Annotated[float, Meta(gt=0, le=1e3)] = 7.0

    def __post_init__(self) -> None:
        check(self)
        self.sigmas()

    @property
    def evaluations(self) -> int:
        """Number of scores, N · R."""
        return self.steps * self.repeats

    def sigmas(self) -> Tensor:
        """Return the noise levels (N,), float64."""
        return karras(self.sigma_max, self.sigma_min, self.steps, self.rho)

    def __call__(
        self, posterior: Posterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Tensor:
        """Return the state at σ = 0; see ``sepcli.protocols.Sampler``."""
        like, rng, sigmas = posterior.like, Rng(seeds), self.sigmas().tolist()
        inflation = 1.0 + min(self.churn / self.steps, math.sqrt(2.0) - 1.0)
        with torch.no_grad():
            x: Tensor = posterior.start + sigmas[0] * rng.normal(like)
            for step, (sigma, next_sigma) in enumerate(zip(sigmas, [*sigmas[1:], 0.0], strict=True)):
                for repeat in range(self.repeats):
                    if repeat:
                        x = x + math.sqrt(sigma**2 - next_sigma**2) * rng.normal(like)
                    if inflation > 1.0:
                        x = x + sigma * math.sqrt(inflation**2 - 1.0) * rng.normal(like)
                    current = sigma * inflation
                    x = x + (current - next_sigma) * current * posterior.score(
                        x, torch.tensor(current).to(like)
                    )
                    if on_progress is not None:
                        on_progress(step * self.repeats + repeat + 1, self.evaluations)
        return x
