"""Draws of one mixture: aligned, summed up and ranked, against what is known by construction."""

from __future__ import annotations

import math

import pytest
import torch

from sepcli.metrics.images import psnr
from sepcli.separation.ranking import STEP, agreement, align, distances, medoid, rank, ranked


def noisy(truth: torch.Tensor, draws: int, noise: float = 0.02, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return truth + noise * torch.randn(draws, *truth.shape, generator=g)


def images(sources: int) -> torch.Tensor:
    return torch.rand(sources, 1, 4, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("sources", [2, 3, 4, 6])
def test_interchangeable_sources_are_put_into_one_order(sources: int) -> None:
    draws, g = noisy(images(sources), 5), torch.Generator().manual_seed(2)
    orders = [torch.randperm(sources, generator=g) for _ in draws]
    shuffled = torch.stack([draw[order] for draw, order in zip(draws, orders, strict=True)])
    assert torch.equal(align(shuffled, ["a"] * sources), draws[:, orders[0]])


def test_sources_of_other_priors_or_weights_stay() -> None:
    draws = noisy(images(4), 6)
    kinds = [("digits", 0.5), ("faces", 0.5), ("digits", 0.5), ("digits", 0.25)]
    shuffled = draws.clone()
    shuffled[3] = draws[3][[2, 1, 0, 3]]
    assert torch.equal(align(shuffled, kinds), draws)
    shuffled[3] = draws[3][[1, 0, 2, 3]]
    aligned = align(shuffled, kinds)
    assert torch.equal(aligned[:, [1, 3]], shuffled[:, [1, 3]])
    assert torch.equal(align(shuffled, range(4)), shuffled)


def test_a_strange_first_draw_does_not_mislead_the_others() -> None:
    """The first draw tells its sources apart by one pixel, which another draw has the wrong way round."""
    draws = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).repeat(9, 1, 1, 12)
    draws[0] = 0.5
    draws[0, :, :, 0] = torch.tensor([[0.4], [0.6]])
    draws[8, :, :, 0] = torch.tensor([[1.0], [0.0]])
    assert torch.equal(align(draws, ["a", "a"]), draws)


def test_medoid_and_agreement() -> None:
    draws = torch.tensor([0.0, 0.1, 0.5]).view(3, 1, 1, 1).expand(3, 2, 1, 4)
    apart = distances(draws)
    torch.testing.assert_close(apart, torch.tensor([[0, 0.01, 0.25], [0.01, 0, 0.16], [0.25, 0.16, 0]]))
    assert medoid(apart) == 1
    found = agreement(apart)
    assert found.argmax() == 1
    assert found[0].item() == pytest.approx(10 * math.log10(2 / 0.26), abs=1e-4)
    pair = noisy(images(2), 2)
    assert agreement(distances(pair))[0].item() == pytest.approx(psnr(pair[0], pair[1]), abs=1e-3)
    assert agreement(distances(pair[[0, 0]])).tolist() == [math.inf] * 2
    assert agreement(distances(pair[:1])).isnan().all()


def test_rank() -> None:
    same, fine = torch.zeros(3), torch.tensor([0.5, 0.0, 0.4]) * STEP
    by_agreement, by_prior = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 1.0, 2.0])
    assert rank(same, by_agreement) == (2, 1, 0)
    assert rank(same, by_agreement, by_prior) == (0, 2, 1)
    assert rank(fine, by_agreement, by_prior) == (0, 2, 1)
    assert rank(fine, same) == (1, 2, 0)
    assert rank(same, same) == (0, 1, 2)
    assert rank(torch.tensor([1.1 * STEP, 0.0, 0.0]), by_agreement, by_prior) == (2, 1, 0)
    assert rank(same, same, torch.tensor([math.nan, -5.0, -3.0])) == (2, 1, 0)
    assert rank(torch.tensor([math.nan, 0.0, 0.0]), same, by_prior) == (2, 1, 0)


def test_draws_are_judged_and_brought_into_order() -> None:
    truth, weights = images(2), (0.25, 0.75)
    draws = noisy(truth, 4, noise=1e-3)
    draws[1] += 0.1
    mixture = torch.einsum("k...,k->...", truth, torch.tensor(weights))
    sets = ranked(draws, mixture, weights, torch.tensor([1.0, 9.0, 3.0, 2.0]))
    assert sets.order == (2, 3, 0, 1)
    assert torch.equal(sets.samples, draws[[2, 3, 0, 1]])
    assert sets.residual[3].item() == pytest.approx(0.1, abs=1e-3)
    assert sets.agreement.argmin() == 3
    assert sets.log_prior is not None
    assert sets.log_prior.tolist() == [3.0, 2.0, 1.0, 9.0]
    assert sets.order[sets.medoid] == medoid(distances(draws))


def test_mean_and_deviation() -> None:
    truth = images(2)
    sets = ranked(noisy(truth, 400, noise=0.2), truth.sum(0), (1.0, 1.0))
    torch.testing.assert_close(sets.mean, truth, atol=0.05, rtol=0)
    torch.testing.assert_close(sets.std, torch.full_like(truth, 0.2), atol=0.04, rtol=0)
    alone = ranked(truth[None], truth.sum(0), (1.0, 1.0))
    assert (alone.order, alone.medoid, alone.residual.item()) == ((0,), 0, 0.0)
