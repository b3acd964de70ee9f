"""Several chains at first, fewer and fewer as it shows which of them explain the mixture.

Every chain is a ``Projected`` one with fresh noise on every level. What a source is, is decided while σ is
about as large as the contrast of the data; a chain that has decided wrongly shows it at once and at no
cost: the priors' own estimates D, made before they are reconciled, do not add up to the mixture. So each
chain is charged

    J = Σ_levels ‖m - A D(x_σ, σ)‖²/σ²        over the levels σ ≤ σ_from since the start

and at levels evenly spaced in ln σ from ``decide_from`` to ``decide_to`` the better half of the chains goes
on; one is left after ⌈log2 N⌉ halvings. With one chain it is ``Projected`` with η = 1.

A posterior may charge every frame on its own, of a sound whose seconds are decided independently. Then it is
not chains that go on, but frame by frame the better half of what the chains have there: the r-th chain that
is left consists of the r-th best frames. Noise of the next level and the priors' view of more than a frame
bring neighbours of different origin together.

Then there is one explanation, and what is still open is of small scale. Noise of ``end_from`` is added to its
estimate, if it has not that much anyway, and it goes on from there E times, each time with noise of its own;
the mean of the E ends is returned: a draw's squared error is the posterior's variance on top of that of the
mean, which E ends divide by E.

What it returns is sharper than a draw from the posterior: a choice among N, at the lower temperature of η =
1, and an average. It is for looking, listening and scoring, not for error bars.

Source: ours; successive halving is Jamieson & Talwalkar's (2016), and a weight of the consistency of D with
    the measurement is what steers particles in Wu et al. 2023 (twisted diffusion sampler), equation 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.protocols import Posterior, ProgressCallback
from sepcli.samplers.rng import Rng
from sepcli.samplers.schedules import karras

CHARGED = 1.5
"""How far above the first halving, in σ, the charge begins."""


@dataclass(frozen=True)
class Halving:
    """Chains that compete; fulfils ``sepcli.protocols.Sampler``. The defaults are for images in [0, 1].

    Attributes:
        candidates: N, the chains at first.
        steps: Levels of the chain that is kept.
        sigma_max: The first level.
        sigma_min: The last one.
        rho: Spacing of the levels; 1 is even.
        decide_from: σ of the first halving; σ_from is ``CHARGED`` times that.
        decide_to: σ of the last one.
        endings: E, how many ends are averaged.
        end_from: σ below which they part.

    Raises:
        UsageError: a setting is out of range.
    """

    candidates: int = 4
    steps: int = 20
    sigma_max: float = 1.5
    sigma_min: float = 0.02
    rho: float = 3.0
    decide_from: float = 0.7
    decide_to: float = 0.3
    endings: int = 1
    end_from: float = 0.25

    def __post_init__(self) -> None:
        for name in ("candidates", "endings"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}", "Use 1 or more.")
        self.ladder()
        if not 0.0 < self.decide_to <= self.decide_from <= self.sigma_max:
            raise UsageError(
                f"chains that start at σ {self.sigma_max:g} cannot be chosen from {self.decide_from:g} to "
                f"{self.decide_to:g}",
                "Use sigma_max >= decide_from >= decide_to > 0.",
            )
        if not 0.0 < self.end_from <= self.decide_from:
            raise UsageError(
                f"a chain that is chosen from σ {self.decide_from:g} cannot part at {self.end_from:g}",
                "Use decide_from >= end_from > 0.",
            )

    @property
    def evaluations(self) -> int:
        """One score per level and chain."""
        return sum(chains for _, chains in self.contest() + self.ends())

    def ladder(self) -> Tensor:
        """The levels σ (steps,), float64."""
        return karras(self.sigma_max, self.sigma_min, self.steps, self.rho)

    def contest(self) -> list[tuple[float, int]]:
        """The levels σ until one chain is left, ``end_from`` at the least, and how many there are at each."""
        halvings = math.ceil(math.log2(self.candidates))
        span = torch.linspace(math.log(self.decide_from), math.log(self.decide_to), max(halvings, 1)).exp()
        due = span.tolist()[:halvings]
        last = min([self.end_from, *due])
        levels = [sigma for sigma in self.ladder().tolist() if sigma >= last]
        return [(s, math.ceil(self.candidates / 2 ** sum(s < level for level in due))) for s in levels]

    def ends(self) -> list[tuple[float, int]]:
        """The levels σ of the endings, and how many there are."""
        return [(sigma, self.endings) for sigma in self.ladder().tolist() if sigma < self.end_from]

    def __call__(
        self, posterior: Posterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Tensor:
        """Draw one state per item.

        Args:
            posterior: what to follow.
            seeds: (B,) int64.
            on_progress: told about progress, evaluation by evaluation.

        Returns:
            The last estimate, or the mean of the last estimates, like ``posterior.like``.
        """
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

        means, charges = posterior.start[None], like.new_zeros(())
        with torch.no_grad():
            for (sigma, chains), (_, left) in pairwise([*self.contest(), (0.0, 1)]):
                means, misfits = estimate(means, sigma, chains)
                charges = charges + misfits * (sigma <= CHARGED * self.decide_from)
                means, charges = least(means, charges, left)
            for sigma, chains in self.ends():
                means, _ = estimate(means, sigma, chains)
        return means.mean(0)


def least(states: Tensor, charges: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` least charged of N chains, for every item or for every frame of every item.

    Args:
        states: (N, B, ..., F).
        charges: (N, B), or (N, B, F).
        count: how many to keep.

    Returns:
        Their states and charges, the least charged first.
    """
    if charges.dim() > 2 and count == len(charges):
        return states, charges  # frames stay with their neighbours unless there is a choice to make
    order = charges.argsort(dim=0, stable=True)[:count]
    between = [1] * (states.dim() - order.dim())
    index = order.view(*order.shape[:2], *between, *order.shape[2:]).expand(-1, -1, *states.shape[2:])
    return states.gather(0, index), charges.gather(0, order)
