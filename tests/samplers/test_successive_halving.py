"""Successive halving against closed forms: the chains that are kept, their number, and the known bias."""

from __future__ import annotations

import pytest
import torch
from exact_priors import GaussianPixels, MixturePixels
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.posterior.dirac import DiracPosterior
from sepcli.posterior.gaussian import GaussianPosterior
from sepcli.protocols import Posterior
from sepcli.samplers.projected import Projected
from sepcli.samplers.successive_halving import Halving, select_best
from sepcli.signal.mixing import WeightedSum

SUM = WeightedSum((1.0, 1.0))


def exact(prior: GaussianPixels | MixturePixels, mixture: Tensor) -> DiracPosterior:
    return DiracPosterior(prior, SUM, mixture, moments=prior.moments)


def test_one_chain_is_projected() -> None:
    prior = GaussianPixels((0.3, 0.6), (0.1, 0.2))
    posterior, seeds = exact(prior, torch.rand(2, 1, 3, 3)), torch.tensor([1, 2])
    one = Halving(candidates=1, steps=9)(posterior, seeds)
    other = Projected(steps=9, sigma_max=1.5, sigma_min=0.02)(posterior, seeds)
    assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("candidates", "falls"), [(1, [1]), (2, [2, 1]), (4, [4, 2, 1]), (5, [5, 3, 2, 1]), (8, [8, 4, 2, 1])]
)
def test_the_chains_halve_until_one_is_left(candidates: int, falls: list[int]) -> None:
    sampler = Halving(candidates=candidates, steps=60)
    selection = sampler.selection()
    assert list(dict.fromkeys(n for _, n in selection)) == falls
    assert sampler.evaluations == sum(n for _, n in selection) + len(sampler.refinements())
    assert [sigma for sigma, _ in selection + sampler.refinements()] == sampler.sigmas().tolist()
    assert all(n == candidates for sigma, n in selection if sigma >= 0.7)
    assert all(n == 1 for sigma, n in selection if sigma < 0.3)


def test_select_best_keeps_the_least_cost_of_every_item() -> None:
    states = torch.arange(12.0).view(3, 2, 2)  # 3 chains, 2 items
    costs = torch.tensor([[5.0, 1.0], [2.0, 1.0], [9.0, 0.0]])
    kept, left = select_best(states, costs, 2)
    assert torch.equal(left, torch.tensor([[2.0, 0.0], [5.0, 1.0]]))
    assert torch.equal(kept[:, 0], states[[1, 0], 0])
    assert torch.equal(kept[:, 1], states[[2, 0], 1])  # a tie goes to the earlier chain


def test_the_last_chain_is_refined() -> None:
    sampler = Halving(candidates=4, steps=60, endings=8)
    assert list(dict.fromkeys(n for _, n in sampler.selection())) == [4, 2, 1]
    assert sampler.refinements() == [(sigma, 8) for sigma in sampler.sigmas().tolist() if sigma < 0.25]
    assert not Halving(steps=60, endings=8, sigma_min=0.26).refinements()


def test_a_late_choice_is_made_before_the_refinements_start() -> None:
    sampler = Halving(candidates=4, steps=60, endings=2, decide_from=0.4, decide_to=0.1)
    selection, refinements = sampler.selection(), sampler.refinements()
    assert selection[-1] == (min(sigma for sigma in sampler.sigmas().tolist() if sigma >= 0.1), 2)
    assert refinements[0][0] == max(sigma for sigma in sampler.sigmas().tolist() if sigma < 0.25)
    seen: list[tuple[int, int]] = []
    posterior = exact(GaussianPixels((0.3, 0.6), (0.1, 0.2)), torch.rand(2, 1, 3, 3))
    sampler(posterior, torch.tensor([1, 2]), lambda *step: seen.append(step))
    total = sum(n for _, n in selection + refinements)
    assert seen == [(n + 1, total) for n in range(total)]


def test_the_mean_of_refinements_has_the_variance_of_a_mean() -> None:
    """Of E refinements from σ_e on, the variance at σ_e is common; the remaining variance falls as 1/E."""
    prior, mixture = GaussianPixels((0.3, 0.6), (0.1, 0.1)), torch.full((1500, 1, 1, 1), 0.8)
    posterior = exact(prior, mixture)

    def variance(endings: int) -> float:
        sampler = Halving(candidates=1, steps=40, endings=endings, end_from=0.3)
        sources = posterior.sources(sampler(posterior, torch.arange(1500)))
        assert torch.allclose(sources.sum(1), mixture, atol=1e-5)
        assert sources[:, 0].mean() == pytest.approx(0.25, abs=0.02)
        return float(sources[:, 0].var())

    one, two, eight = variance(1), variance(2), variance(8)
    assert eight < two < one
    assert (two - eight) / (one - eight) == pytest.approx((1 / 2 - 1 / 8) / (1 - 1 / 8), abs=0.2)


@pytest.mark.parametrize("kind", ["gaussian", "dirac"])
def test_the_cost_is_the_squared_residual_of_the_estimates(kind: str) -> None:
    prior, sigma = MixturePixels(*(torch.rand(2, 2, dtype=torch.float64) + 0.1 for _ in range(3))), 0.4
    mixture = torch.rand(3, 1, 4, 4, dtype=torch.float64)
    made: Posterior = exact(prior, mixture) if kind == "dirac" else GaussianPosterior(prior, SUM, mixture, 2)
    state = torch.randn(made.like.shape, dtype=torch.float64)
    level = torch.tensor(sigma, dtype=torch.float64)
    score, cost = made.assess(state, level)
    x = made.sources(state)
    residual = mixture - (x + sigma**2 * prior.score(x, level)).sum(1)
    assert torch.allclose(cost, residual.flatten(1).square().sum(1) / sigma**2)
    assert torch.equal(score, made.score(state, level))


def test_the_mean_of_a_gaussian_posterior_is_kept_and_its_spread_shrinks() -> None:
    """The bias, pinned: η = 1 halves the variance; a selection by cost leaves no more than that."""
    prior = GaussianPixels((0.3, 0.6), (0.1, 0.1))
    mixture = torch.full((2000, 1, 1, 1), 0.8)
    samples = exact(prior, mixture)
    sources = samples.sources(Halving(candidates=4, steps=40)(samples, torch.arange(2000)))
    mean, variance = 0.3 + (0.8 - 0.9) / 2, 0.05  # of the first source given the sum
    assert sources[:, 0].mean() == pytest.approx(mean, abs=0.02)
    assert 0.2 * variance < sources[:, 0].var() < 0.62 * variance
    assert torch.allclose(sources.sum(1), mixture, atol=1e-5)


def test_more_candidates_find_the_explanation_more_often() -> None:
    """Pixels are 0 or 1; a mixture of 1 has two explanations, all the others only one or none."""
    shares, means = torch.tensor([[0.5, 0.5]] * 2), torch.tensor([[0.0, 1.0], [0.25, 1.25]])
    prior = MixturePixels(shares, means, torch.full((2, 2), 1e-3))
    g = torch.Generator().manual_seed(1)
    truth = torch.randint(0, 2, (300, 2, 1, 2, 2), generator=g) + torch.tensor([0.0, 0.25]).view(
        1, 2, 1, 1, 1
    )
    posterior = DiracPosterior(prior, SUM, truth.sum(1))  # no C: wrong turns are not mended at once

    def implausible(sampler: Halving) -> float:
        sources = posterior.sources(sampler(posterior, torch.arange(300)))
        nearest = (sources[..., None] - means.view(1, 2, 1, 1, 1, 2)).abs().amin(-1)
        return float((nearest.flatten(1).amax(1) > 0.2).float().mean())

    coarse = {"steps": 5, "sigma_max": 1.0, "decide_from": 0.6, "decide_to": 0.25}
    assert implausible(Halving(candidates=8, **coarse)) < 0.7 * implausible(Halving(candidates=1, **coarse))


@pytest.mark.parametrize(
    "settings",
    [
        {"candidates": 0},
        {"decide_from": 0.2},
        {"decide_to": 0.0},
        {"end_from": 0.8},
        {"end_from": 0.0},
        {"endings": 0},
        {"sigma_max": 0.5},
        {"steps": 0},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Halving(**settings)  # type: ignore[arg-type]
