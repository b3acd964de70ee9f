"""Multi-source diffusion: Euler steps along the probability flow, with churn and repeats.

    σ̂ = σ (1 + γ),  x̂ = x + √(σ̂² - σ²) ε,  γ = min(churn/N, √2 - 1)          churn: noise is put back in
    x' = x̂ + (σ' - σ̂) · (-σ̂ ∇ log p_σ̂(x̂ | m))                               Euler
    x ← x' + √(σ² - σ'²) ε and again, R - 1 times                              repeats

On a ``DiracPosterior``, where the paper lets one source be what the others leave of the mixture, all are
alike. Without churn it is ``Projected`` with η = 0. With churn it draws from the same posterior, and
corrects on the way.

Source: Mariani et al. 2023, algorithm 1 (churn 20 to 40, R = 2, 150 levels, ρ = 7); Karras et al. 2022,
    algorithm 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.protocols import Posterior, ProgressCallback
from sepcli.samplers.rng import Rng
from sepcli.samplers.schedules import karras


@dataclass(frozen=True)
class MultiSource:
    """Stochastic Euler steps; fulfils ``sepcli.protocols.Sampler``. The defaults are for audio in [-1, 1].

    Attributes:
        steps: N levels.
        repeats: R evaluations on every level.
        churn: How much noise is put back, over all levels.
        sigma_max: The first level.
        sigma_min: The last one.
        rho: Spacing of the levels.

    Raises:
        UsageError: a setting is out of range.
    """

    steps: int = 150
    repeats: int = 2
    churn: float = 20.0
    sigma_max: float = 1.0
    sigma_min: float = 1e-4
    rho: float = 7.0

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise UsageError(f"repeats is {self.repeats}", "Use 1 or more.")
        if not 0.0 <= self.churn < float("inf"):
            raise UsageError(f"churn is {self.churn}", "Use 0 or more.")
        self.ladder()

    @property
    def evaluations(self) -> int:
        """N · R scores."""
        return self.steps * self.repeats

    def ladder(self) -> Tensor:
        """The levels σ (N,), float64."""
        return karras(self.sigma_max, self.sigma_min, self.steps, self.rho)

    def __call__(
        self, posterior: Posterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Tensor:
        """Draw one state per item.

        Args:
            posterior: what to follow.
            seeds: (B,) int64.
            on_progress: told about progress, step by step.

        Returns:
            The state at σ = 0, like ``posterior.like``.
        """
        like, rng, sigmas = posterior.like, Rng(seeds), self.ladder().tolist()
        grow = 1.0 + min(self.churn / self.steps, math.sqrt(2.0) - 1.0)
        with torch.no_grad():
            x: Tensor = posterior.start + sigmas[0] * rng.normal(like)
            for step, (sigma, following) in enumerate(zip(sigmas, [*sigmas[1:], 0.0], strict=True)):
                for repeat in range(self.repeats):
                    if repeat:
                        x = x + math.sqrt(sigma**2 - following**2) * rng.normal(like)
                    if grow > 1.0:
                        x = x + sigma * math.sqrt(grow**2 - 1.0) * rng.normal(like)
                    now = sigma * grow
                    x = x + (now - following) * now * posterior.score(x, torch.tensor(now).to(like))
                    if on_progress is not None:
                        on_progress(step * self.repeats + repeat + 1, self.evaluations)
        return x
