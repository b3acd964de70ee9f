"""Denoise, then add the noise of the next level: a draw in few evaluations.

    h = x + σ² ∇ log p_σ(x | m)                                   what the clean state would be
    x ← h + σ' (√(1-η²) (x - h)/σ + η ε)                          for levels σ > σ' > …; at last x ← h

On a ``DiracPosterior`` x are the free coordinates of the constraint, so that the sum of the sources is the
mixture from the first step to the last: the projected sampler. What it draws, in the limit of many levels,
depends on the share η of fresh noise:

* η = 0 is Euler's rule for the probability flow, and ``eta=None`` is ancestral sampling, η² = 1 - (σ'/σ)²:
  both draw from the posterior.
* η = 1 forgets all old noise. As σ' → σ it is Langevin dynamics with steps of σ² but noise σ ε in place of
  √2 σ ε, which draws at temperature one half: of a Gaussian posterior, half the variance. Separations are
  the sharper for it, and mistakes of early steps are mended; so it is the default.

Source: Song et al. 2021 (DDIM), equation 12; Ho et al. 2020 (ancestral sampling); Karras et al. 2022
    (levels).
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
class Projected:
    """Few evaluations, from noise of σ_max to the last estimate; fulfils ``sepcli.protocols.Sampler``.

    Attributes:
        steps: Levels, one evaluation each.
        sigma_max: The first level: 1.5 to 3 for images in [0, 1], 20 or more for a global tint.
        sigma_min: The last one.
        rho: Spacing of the levels; 1 is even.
        eta: η in [0, 1]; None: that of ancestral sampling.

    Raises:
        UsageError: a setting is out of range.
    """

    steps: int = 50
    sigma_max: float = 2.0
    sigma_min: float = 0.01
    rho: float = 3.0
    eta: float | None = 1.0

    def __post_init__(self) -> None:
        if self.eta is not None and not 0.0 <= self.eta <= 1.0:
            raise UsageError(f"eta is {self.eta}", "Use 0 (no fresh noise) to 1 (only fresh noise).")
        self.ladder()

    @property
    def evaluations(self) -> int:
        """One score per level."""
        return self.steps

    def ladder(self) -> Tensor:
        """The levels σ (steps,), float64."""
        return karras(self.sigma_max, self.sigma_min, self.steps, self.rho)

    def fresh(self, sigma: float, following: float) -> float:
        """The share η of fresh noise between two levels."""
        return math.sqrt(max(0.0, 1.0 - (following / sigma) ** 2)) if self.eta is None else self.eta

    def __call__(
        self, posterior: Posterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Tensor:
        """Draw one state per item.

        Args:
            posterior: what to follow.
            seeds: (B,) int64.
            on_progress: told about progress, step by step.

        Returns:
            The last estimate, like ``posterior.like``.
        """
        like, rng, sigmas = posterior.like, Rng(seeds), self.ladder().tolist()
        with torch.no_grad():
            x: Tensor = posterior.start + sigmas[0] * rng.normal(like)
            for step, (sigma, following) in enumerate(zip(sigmas, [*sigmas[1:], 0.0], strict=True), 1):
                direction = -sigma * posterior.score(x, torch.tensor(sigma).to(like))  # (x - h)/σ
                x = x - sigma * direction
                if following:
                    eta = self.fresh(sigma, following)
                    x = x + following * math.sqrt(1.0 - eta**2) * direction
                    x = x + following * eta * rng.normal(like) if eta else x
                if on_progress is not None:
                    on_progress(step, self.steps)
        return x
