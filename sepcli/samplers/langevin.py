"""Annealed Langevin dynamics, the sampler of BASIS.

    x ← x + η_i ∇ log p_σi(x | m) + √(2 η_i) ε,   η_i = δ σ_i²/σ_L²,   T steps on every level σ_1 > … > σ_L

from x uniform on [0, 1), or from x = σ_1 ε. It draws from the posterior at σ_L, whose sources carry noise of
σ_L; a few last steps without ε take it off. Steps of finite size widen what they draw: for a Gaussian
posterior of precision λ the variance is (1/λ) / (1 - η λ/2), and there is none beyond η λ = 2.

Source: Jayaram & Thickstun 2020 (BASIS), algorithm 1 and section 4 (δ = 2·10⁻⁵, L = 10, T = 100); its
    poster prints 2 √η where √(2 η) is meant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.protocols import Posterior, ProgressCallback
from sepcli.samplers.rng import Rng
from sepcli.samplers.schedules import geometric


@dataclass(frozen=True)
class Langevin:
    """Annealed Langevin dynamics; fulfils ``sepcli.protocols.Sampler``.

    Attributes:
        ratio: η/σ² = δ/σ_L², the step in units of the noise, the same on every level; the paper's 0.2 is
            δ = 2·10⁻⁵ at σ_L = 0.01.
        levels: L.
        steps: T, on every level.
        sigma_max: σ_1.
        sigma_min: σ_L.
        noise: False leaves out ε: gradient ascent (the paper's figure 3).
        anneal: False spends all L·T steps on the last level (the same figure).
        centred: start from σ_1 ε, for signals around 0, not uniformly on [0, 1), for images.
        polish: steps without ε that follow on the last level; the paper has none.

    Raises:
        UsageError: a setting is out of range.
    """

    ratio: float = 0.2
    levels: int = 10
    steps: int = 100
    sigma_max: float = 1.0
    sigma_min: float = 0.01
    noise: bool = True
    anneal: bool = True
    centred: bool = False
    polish: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.ratio < float("inf"):
            raise UsageError(f"ratio is {self.ratio}", "Use more than 0; 0.2 is the paper's.")
        if self.steps < 1:
            raise UsageError(f"steps is {self.steps}", "Use 1 or more.")
        if self.polish < 0:
            raise UsageError(f"polish is {self.polish}", "Use 0 or more.")
        self.ladder()

    @property
    def noise_left(self) -> float:
        """Standard deviation of the noise that is still in a draw; 0 after steps without it."""
        return self.sigma_min if self.noise and not self.polish else 0.0

    @property
    def evaluations(self) -> int:
        """L · T scores, and one for each last step."""
        return self.levels * self.steps + self.polish

    def ladder(self) -> Tensor:
        """The levels σ (L,), float64; all of them σ_L without annealing."""
        sigmas = geometric(self.sigma_max, self.sigma_min, self.levels)
        return sigmas if self.anneal else sigmas[-1].expand(self.levels)

    def __call__(
        self, posterior: Posterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Tensor:
        """Draw one state per item.

        Args:
            posterior: what to follow.
            seeds: (B,) int64.
            on_progress: told about progress, step by step.

        Returns:
            The state after the last step, like ``posterior.like``.
        """
        like, rng, done = posterior.like, Rng(seeds), 0
        with torch.no_grad():
            x = self.sigma_max * rng.normal(like) if self.centred else rng.uniform(*like.shape[1:]).to(like)
            sigmas = self.ladder().to(like)
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
