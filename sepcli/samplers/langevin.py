"""Annealed Langevin dynamics, the sampler of BASIS.

    x ← x + η_i ∇ log p_σi(x | m) + √(2 η_i) ε,   η_i = δ σ_i²/σ_L²,   T steps at every σ_1 > … > σ_L

starting from x uniform on [0, 1), or from x = σ_1 ε. It samples the posterior at σ_L, whose sources contain
noise of standard deviation σ_L; a few final steps without ε remove it. Steps of finite size widen the
distribution: for a Gaussian posterior of precision λ the variance is (1/λ) / (1 - η λ/2), and the dynamics
diverge for η λ ≥ 2.

Source: Jayaram & Thickstun 2020 (BASIS), algorithm 1 and section 4 (δ = 2·10⁻⁵, L = 10, T = 100); its
    poster prints 2 √η where √(2 η) is meant.
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
from sepcli.samplers.schedules import geometric
from sepcli.settings import check


@dataclass(frozen=True)
class Langevin:
    """Annealed Langevin dynamics; fulfils ``sepcli.protocols.Sampler``.

    Attributes:
        ratio: Step size relative to the noise, η/σ² = δ/σ_L², the same at every noise level; the paper's 0.2
            is δ = 2·10⁻⁵ at σ_L = 0.01.
        levels: Number of noise levels L.
        steps: Number of steps T at every noise level.
        sigma_max: First noise level σ_1.
        sigma_min: Last noise level σ_L.
        noise: Whether to add ε; without it the sampler is gradient ascent (the paper's figure 3).
        anneal: Whether to anneal; without it all L·T steps are taken at the last noise level (the same
            figure).
        centred: Whether to start from σ_1 ε, for signals around 0, instead of uniformly on [0, 1), for
            images.
        polish: Number of final steps without ε at the last noise level; the paper has none.

    Raises:
        UsageError: a setting is out of range.
    """

    ratio: Annotated[float, Meta(gt=0, le=1e6)] = 0.2
    levels: Annotated[int, Meta(ge=1, le=100_000)] = 10
    steps: Annotated[int, Meta(ge=1, le=100_000)] = 100
    sigma_max: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    sigma_min: Annotated[float, Meta(gt=0, le=1e6)] = 0.01
    noise: bool = True
    anneal: bool = True
    centred: bool = False
    polish: Annotated[int, Meta(ge=0, le=100_000)] = 0

    def __post_init__(self) -> None:
        check(self)
        self.sigmas()

    @property
    def noise_left(self) -> float:
        """Standard deviation of the noise that remains in a sample; 0 after steps without noise."""
        return self.sigma_min if self.noise and not self.polish else 0.0

    @property
    def evaluations(self) -> int:
        """Number of scores: L · T, and one for each final step."""
        return self.levels * self.steps + self.polish

    def sigmas(self) -> Tensor:
        """Return the noise levels (L,), float64; all of them σ_L without annealing."""
        sigmas = geometric(self.sigma_max, self.sigma_min, self.levels)
        return sigmas if self.anneal else sigmas[-1].expand(self.levels)

    def __call__(
        self, posterior: Posterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Tensor:
        """Return the state after the last step; see ``sepcli.protocols.Sampler``."""
        like, rng, done = posterior.like, Rng(seeds), 0
        with torch.no_grad():
            x = self.sigma_max * rng.normal(like) if self.centred else rng.uniform(*like.shape[1:]).to(like)
            sigmas = self.sigmas().to(like)
            stages = [(sigma, self.steps, self.noise) for sigma in sigmas]
            for sigma, steps, noise in [*stages, (sigmas[-1], self.polish, False)]:
                eta = self.ratio * sigma**2
                for _ in range(steps):
                    x = x + eta * posterior.score(x, sigma)
                    if noise:
                        x = x + math.sqrt(2.0) * eta.sqrt() * rng.normal(like)
                    done += 1
                    if on_progress is not None:
                        on_progress(done, self.evaluations)
        return x
