"""Denoise, then add the noise of the next level: a sampler with few evaluations.

    h = x + σ² ∇ log p_σ(x | m)                                   estimate of the clean state
    x ← h + σ' (√(1-η²) (x - h)/σ + η ε)                          for σ > σ' > …; x ← h after the last

On a ``DiracPosterior`` x is the free coordinates of the constraint, so that the sources sum to the mixture at
every step. The distribution of the samples, in the limit of many levels, depends on the fraction η of fresh
noise:

* η = 0 is Euler's method for the probability flow, and ``eta=None`` is ancestral sampling, η² = 1 - (σ'/σ)²:
  both sample the posterior.
* η = 1 replaces all noise. As σ' → σ it is Langevin dynamics with steps of σ² but noise σ ε instead of √2 σ
  ε, which samples at temperature one half: for a Gaussian posterior, half the variance. It is the default
  because separations are sharper and errors of early steps are corrected.
* η = 1 with ``average``: x ← h + σ' (ε + ε₋)/√2, where ε₋ is the ε of the step before. It corrects errors
  as η = 1 does, at temperature one: for a Gaussian p_σ(x | m), whose h is j x + constant, the variance v =
  j² v + σ² + j σ² is σ²/(1 - j), the right one at steps of σ², too.

The error of the distribution is of first order in the number of levels. With ``order=2`` the estimate is
extrapolated to the middle of the step in ln σ, from that of the level σ₋ before,

    h + (h - h₋)/(2 r),   r = ln(σ₋/σ)/ln(σ/σ')                   instead of h, but not after the last level

and it is of second order, without further evaluations.

``repeats`` at a noise level, x ← h + σ ε in between, are Predict-Project-Renoise: early errors are corrected
at their noise level, but the temperature is that of η = 1, one half.

Source: Song et al. 2021 (DDIM), equation 12; Ho et al. 2020 (ancestral sampling); Karras et al. 2022
    (levels); Lu et al. 2022 (DPM-Solver++), algorithm 2 and, with noise, appendix A.2;
    Predict-Project-Renoise (arXiv 2601.21033); Leimkuhler & Matthews 2013 (averaged noise).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.protocols import Posterior, ProgressCallback
from sepcli.samplers.rng import Rng
from sepcli.samplers.schedules import karras
from sepcli.settings import check


@dataclass(frozen=True)
class Projected:
    """Ancestral sampling on the constraint; fulfils ``sepcli.protocols.Sampler``.

    Attributes:
        steps: Number of noise levels.
        sigma_max: First noise level: 1.5 to 3 for images in [0, 1], 20 or more to vary a global tint.
        sigma_min: Last noise level.
        rho: Spacing of the noise levels; 1 is even.
        eta: Fraction η of fresh noise; ancestral (None): that of ancestral sampling.
        order: Order of the error in the number of noise levels, 1 or 2.
        repeats: Evaluations R per noise level; between them all noise is replaced, as by η = 1, which
            corrects errors and, without average, lowers the temperature.
        average: Whether noise is the average of that of two steps, of eta=1: samples of the posterior.

    Raises:
        UsageError: a setting is out of range, or ``average`` is with another η, or of second order.
    """

    steps: Annotated[int, Meta(ge=1, le=100_000)] = 50
    sigma_max: Annotated[float, Meta(gt=0, le=1e6)] = 2.0
    sigma_min: Annotated[float, Meta(gt=0, le=1e6)] = 0.01
    rho: Annotated[float, Meta(gt=0, le=1e3)] = 3.0
    eta: Annotated[Annotated[float, Meta(ge=0, le=1)] | None, Meta(extra={"none": "ancestral"})] = 1.0
    order: Annotated[int, Meta(ge=1, le=2)] = 1
    repeats: Annotated[int, Meta(ge=1, le=1_000)] = 1
    average: bool = False

    def __post_init__(self) -> None:
        check(self)
        self.sigmas()
        if self.average and (self.eta != 1.0 or self.order != 1):
            raise UsageError(
                "average needs eta=1 and order=1", "leave out one of them", argument="settings.average"
            )

    @property
    def samples_posterior(self) -> bool:
        """Whether samples are those of the posterior in the limit of many noise levels."""
        return self.average or (self.eta in (None, 0.0) and self.repeats == 1)

    @property
    def evaluations(self) -> int:
        """Number of scores."""
        return self.steps * self.repeats

    def sigmas(self) -> Tensor:
        """Return the noise levels (steps,), float64."""
        return karras(self.sigma_max, self.sigma_min, self.steps, self.rho)

    def fresh_noise(self, sigma: float, next_sigma: float) -> float:
        """Return the fraction η of fresh noise between two noise levels."""
        return math.sqrt(max(0.0, 1.0 - (next_sigma / sigma) ** 2)) if self.eta is None else self.eta

    def __call__(
        self, posterior: Posterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Tensor:
        """Return the last estimate; see ``sepcli.protocols.Sampler``."""
        like, rng, sigmas = posterior.like, Rng(seeds), self.sigmas().tolist()
        before: tuple[float, Tensor] | None = None
        noise = _Noise(rng, like, self.average)
        with torch.no_grad():
            x: Tensor = posterior.start + sigmas[0] * noise.next()
            for step, (sigma, next_sigma) in enumerate(zip(sigmas, [*sigmas[1:], 0.0], strict=True)):
                for repeat in range(self.repeats):
                    x = x + sigma * noise.next() if repeat else x
                    direction = -sigma * posterior.score(x, torch.tensor(sigma).to(like))  # (x - h)/σ
                    x = x - sigma * direction
                    if on_progress is not None:
                        on_progress(step * self.repeats + repeat + 1, self.evaluations)
                estimate = x
                if next_sigma:
                    if before is not None and self.order == 2:
                        x = extrapolated(*before, estimate, sigma, next_sigma)
                        direction = direction + (estimate - x) / sigma
                    eta = self.fresh_noise(sigma, next_sigma)
                    x = x + next_sigma * math.sqrt(1.0 - eta**2) * direction
                    x = x + next_sigma * eta * noise.next() if eta else x
                before = sigma, estimate
        return x


class _Noise:
    """Standard normal noise of every step, independent or the average of consecutive ones times √2."""

    def __init__(self, rng: Rng, like: Tensor, average: bool) -> None:
        self._rng, self._like, self._average = rng, like, average
        self._last: Tensor | None = None

    def next(self) -> Tensor:
        """Return the noise of the next step, of the state's shape."""
        last, new = self._last, self._rng.normal(self._like)
        self._last = new if self._average else None
        return new if last is None else (last + new) / math.sqrt(2.0)


def extrapolated(
    last_sigma: float, last_estimate: Tensor, estimate: Tensor, sigma: float, next_sigma: float
) -> Tensor:
    """Return the estimate at σ, extrapolated linearly in ln σ to the middle of the step to the next level."""
    if last_sigma <= sigma or next_sigma >= sigma:
        return estimate  # all levels are equal
    ratio = math.log(sigma / next_sigma) / math.log(last_sigma / sigma)
    return estimate + 0.5 * ratio * (estimate - last_estimate)
