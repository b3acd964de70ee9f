"""Successive halving: many chains at high noise, of which the ones that explain the mixture are continued.

Each chain is a ``Projected`` chain with η = 1. The content of a source is decided while σ is about the
contrast of the data, and a wrong decision shows without extra evaluations: the prior's estimates D do not
sum to the mixture. The cost of a chain is

    J = Σ_levels ‖m - A D(x_σ, σ)‖²/σ²        over the noise levels σ ≤ COST_RANGE · decide_from

At noise levels evenly spaced in ln σ from ``decide_from`` to ``decide_to`` the better half of the chains is
kept; one is left after ⌈log2 N⌉ halvings. With one chain the sampler is ``Projected`` with η = 1.

If the posterior returns a misfit per frame, the selection is per frame: the r-th chain that is kept consists
of the r-th best frame of the chains at every position. Frames of different chains become coherent at the
following noise levels, because the receptive field of the prior covers several frames.

The remaining uncertainty is of small scale. From σ = ``end_from`` on, the chain is refined E times with
independent noise, and the mean of the E results is returned: the squared error of a sample is the posterior
variance plus that of the mean, and averaging divides the former by E.

The result is sharper than a posterior sample: the best of N, at the lower temperature of η = 1, and an
average. Use it for separation and evaluation, not for error bars.

Source: this project; successive halving is from Jamieson & Talwalkar (2016), and weights by the consistency
    of D with the measurement steer the particles of Wu et al. 2023 (twisted diffusion sampler), equation 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.protocols import Posterior, ProgressCallback
from sepcli.samplers.rng import Rng
from sepcli.samplers.schedules import karras
from sepcli.settings import check

COST_RANGE = 1.5
"""Costs are summed from this multiple of ``decide_from`` on."""


@dataclass(frozen=True)
class Halving:
    """Successive halving of chains; fulfils ``sepcli.protocols.Sampler``. The defaults are for images.

    Attributes:
        candidates: Initial number of chains N.
        steps: Number of noise levels of the chain that is kept.
        sigma_max: First noise level.
        sigma_min: Last noise level.
        rho: Spacing of the noise levels; 1 is even.
        decide_from: Noise level of the first halving.
        decide_to: Noise level of the last halving.
        endings: Number of refinements E that are averaged.
        end_from: Noise level below which the chain is refined.

    Raises:
        UsageError: a setting is out of range.
    """

    candidates: Annotated[int, Meta(ge=1, le=10_000)] = 4
    steps: Annotated[int, Meta(ge=1, le=100_000)] = 20
    sigma_max: Annotated[float, Meta(gt=0, le=1e6)] = 1.5
    sigma_min: Annotated[float, Meta(gt=0, le=1e6)] = 0.02
    rho: Annotated[float, Meta(gt=0, le=1e3)] = 3.0
    decide_from: Annotated[float, Meta(gt=0, le=1e6)] = 0.7
    decide_to: Annotated[float, Meta(gt=0, le=1e6)] = 0.3
    endings: Annotated[int, Meta(ge=1, le=10_000)] = 1
    end_from: Annotated[float, Meta(gt=0, le=1e6)] = 0.25

    def __post_init__(self) -> None:
        check(self)
        self.sigmas()
        if not self.decide_to <= self.decide_from <= self.sigma_max:
            raise UsageError(
                f"decide_from={self.decide_from:g} and decide_to={self.decide_to:g} do not fit "
                f"sigma_max={self.sigma_max:g}",
                "use sigma_max >= decide_from >= decide_to",
                argument="settings.decide_from",
            )
        if self.end_from > self.decide_from:
            raise UsageError(
                f"end_from={self.end_from:g} is not in the range below decide_from={self.decide_from:g}",
                "use decide_from >= end_from",
                argument="settings.end_from",
            )

    @property
    def evaluations(self) -> int:
        """Number of scores: one per noise level and chain."""
        return sum(chains for _, chains in self.selection() + self.refinements())

    def sigmas(self) -> Tensor:
        """Return the noise levels (steps,), float64."""
        return karras(self.sigma_max, self.sigma_min, self.steps, self.rho)

    def selection(self) -> list[tuple[float, int]]:
        """Return the noise levels of the selection, down to ``end_from`` at most, and the chains at each."""
        halvings = math.ceil(math.log2(self.candidates))
        range_ = torch.linspace(math.log(self.decide_from), math.log(self.decide_to), max(halvings, 1)).exp()
        thresholds = range_.tolist()[:halvings]
        last = min([self.end_from, *thresholds])
        levels = [sigma for sigma in self.sigmas().tolist() if sigma >= last]
        return [(s, math.ceil(self.candidates / 2 ** sum(s < level for level in thresholds))) for s in levels]

    def refinements(self) -> list[tuple[float, int]]:
        """Return the noise levels of the refinements, and their number at each."""
        return [(sigma, self.endings) for sigma in self.sigmas().tolist() if sigma < self.end_from]

    def __call__(
        self, posterior: Posterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Tensor:
        """Return the mean of the refinements; see ``sepcli.protocols.Sampler``."""
        like, rng, done = posterior.like, Rng(seeds), 0

        def estimate(means: Tensor, sigma: float, chains: int) -> tuple[Tensor, Tensor]:
            nonlocal done
            estimates, misfits = [], []
            for state in means + sigma * torch.stack([rng.normal(like) for _ in range(chains)]):
                score, misfit = posterior.assess(state, torch.tensor(sigma).to(like))
                estimates.append(state + sigma**2 * score)
                misfits.append(misfit)
                done += 1
                if on_progress is not None:
                    on_progress(done, self.evaluations)
            return torch.stack(estimates), torch.stack(misfits)

        means, costs = posterior.start[None], like.new_zeros(())
        with torch.no_grad():
            for (sigma, chains), (_, kept) in pairwise([*self.selection(), (0.0, 1)]):
                means, misfits = estimate(means, sigma, chains)
                costs = costs + misfits * (sigma <= COST_RANGE * self.decide_from)
                means, costs = select_best(means, costs, kept)
            for sigma, chains in self.refinements():
                means, _ = estimate(means, sigma, chains)
        return means.mean(0)


def select_best(states: Tensor, costs: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Keep the ``count`` chains of least cost among N, the least first, per item or per frame of every item.

    States are (N, B, ..., F), costs (N, B) or (N, B, F).
    """
    if costs.dim() > 2 and count == len(costs):
        return states, costs  # without a selection, frames of one chain stay together
    order = costs.argsort(dim=0, stable=True)[:count]
    singletons = [1] * (states.dim() - order.dim())
    index = order.view(*order.shape[:2], *singletons, *order.shape[2:]).expand(-1, -1, *states.shape[2:])
    return states.gather(0, index), costs.gather(0, order)
