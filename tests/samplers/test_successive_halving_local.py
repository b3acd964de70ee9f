"""Selection per frame: each frame comes from the chain that is right there."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from exact_priors import MixturePixels
from torch import Tensor

from sepcli.posterior.dirac import DiracPosterior
from sepcli.samplers.successive_halving import Halving, select_best
from sepcli.signal.mixing import WeightedSum

FRAMES = 6


def test_select_best_selects_frame_by_frame() -> None:
    states = torch.arange(2 * 1 * 2 * 3.0).view(2, 1, 2, 3)  # 2 chains, 1 item, 2 bands, 3 frames
    costs = torch.tensor([[[1.0, 5.0, 2.0]], [[3.0, 4.0, 2.0]]])
    kept, left = select_best(states, costs, 1)
    assert torch.equal(left, torch.tensor([[[1.0, 4.0, 2.0]]]))
    assert torch.equal(kept[0, 0], torch.tensor([[0.0, 7.0, 2.0], [3.0, 10.0, 5.0]]))  # of a tie, the earlier


def test_frames_stay_with_their_neighbors_while_all_chains_go_on() -> None:
    states, costs = torch.randn(3, 2, 2, 4), torch.rand(3, 2, 4)
    kept, left = select_best(states, costs, 3)
    assert torch.equal(kept, states)
    assert torch.equal(left, costs)


@dataclass
class Halves:
    """The truth is 1; the first of two chains is right in one half of the frames, the second in the other."""

    local: bool
    like: Tensor = field(default_factory=lambda: torch.empty(2, 1, 1, 3, FRAMES))
    start: Tensor = field(default_factory=lambda: torch.zeros(2, 1, 1, 3, FRAMES))
    calls: int = 0

    def score(self, state: Tensor, sigma: Tensor) -> Tensor:
        return self.assess(state, sigma)[0]

    def assess(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        if self.calls < 2:
            half = (torch.arange(FRAMES) < FRAMES // 2) ^ bool(self.calls)
            actual = torch.stack([half, ~half])[:, None, None, None].float().expand_as(state)
        else:
            actual = state.round()
        self.calls += 1
        wrong = (1.0 - actual).square().flatten(1, -2).sum(1)
        return (actual - state) / sigma**2, wrong if self.local else wrong.sum(1)

    def sources(self, state: Tensor) -> Tensor:
        return state


@pytest.mark.parametrize(("local", "right"), [(True, 1.0), (False, 0.5)])
def test_each_half_is_taken_from_the_chain_that_is_right_there(local: bool, right: float) -> None:
    levels = {"steps": 12, "sigma_max": 0.1, "sigma_min": 0.01}
    sampler = Halving(candidates=2, decide_from=0.08, decide_to=0.05, end_from=0.05, **levels)  # type: ignore[arg-type]
    actual = sampler(Halves(local), torch.tensor([1, 2]))
    assert torch.allclose(actual, actual.round(), atol=1e-6)
    assert actual.flatten(1).mean(1).tolist() == pytest.approx([right, right])


SHARES, MEANS = torch.tensor([[0.5, 0.5]] * 2), torch.tensor([[0.0, 1.0], [0.25, 1.25]])
PRIOR = MixturePixels(SHARES, MEANS, torch.full((2, 2), 1e-3))
COARSE = {"steps": 3, "sigma_max": 0.6, "decide_from": 0.5, "decide_to": 0.25}


def long_mixtures(items: int, frames: int) -> Tensor:
    g = torch.Generator().manual_seed(1)
    truth = torch.randint(0, 2, (items, 2, 1, 1, frames), generator=g)
    return (truth + torch.tensor([0.0, 0.25]).view(1, 2, 1, 1, 1)).sum(1)


def test_a_long_item_needs_its_frames_chosen_one_by_one() -> None:
    """Every frame of a source is one of two values on its own: no chain is right everywhere."""
    mixture = long_mixtures(100, 60)

    def implausible(candidates: int, local: int) -> float:
        posterior = DiracPosterior(PRIOR, WeightedSum((1.0, 1.0)), mixture, local=local)
        sampler = Halving(candidates=candidates, **COARSE)  # type: ignore[arg-type]
        sources = posterior.sources(sampler(posterior, torch.arange(len(mixture))))
        assert torch.allclose(sources.sum(1), mixture, atol=1e-5)
        nearest = (sources[..., None] - MEANS.view(1, 2, 1, 1, 1, 2)).abs().amin(-1)
        return float((nearest > 0.2).float().mean())

    one, whole, framed = implausible(1, 0), implausible(8, 0), implausible(8, 1)
    assert whole > 0.85 * one
    assert framed < 0.8 * one


def test_an_item_depends_on_its_own_seed_and_mixture_only() -> None:
    mixture, seeds = long_mixtures(3, 9), torch.tensor([3, 4, 5])

    def samples(items: slice) -> Tensor:
        posterior = DiracPosterior(
            PRIOR, WeightedSum((1.0, 1.0)), mixture[items], moments=PRIOR.moments, local=2
        )
        return Halving(candidates=8)(posterior, seeds[items])

    assert torch.equal(samples(slice(None))[1:2], samples(slice(1, 2)))
