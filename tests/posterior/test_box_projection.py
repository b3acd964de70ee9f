"""Sources between bounds: the nearest ones that make the mixture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.posterior.box_projection import project
from sepcli.posterior.dirac import DiracPosterior
from sepcli.samplers.projected import Projected
from sepcli.signal.mixing import WeightedSum

WEIGHTS = [(1.0, 1.0), (0.299, 0.587, 0.114), (2.0, 1.0, -0.5), (1.0, 0.0, 1.0)]


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Outside:
    """A prior whose estimates are out of [0, 1] as often as not."""

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """(D - x)/σ² for D = 3 x - 1."""
        return (2.0 * x - 1.0) / sigma**2


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_crossing_is_where_bisection_finds_it(weights: tuple[float, ...], noise: float) -> None:
    k, mixing = len(weights), WeightedSum(weights)
    mean, variance = uniform(3, k, 1, 50), uniform(3, k, 1, 50, seed=1) + 0.1
    m = mixing(uniform(3, k, 1, 50, seed=2))
    direction = mixing.adjoint(torch.ones_like(m)) * variance
    projected, feasible = project(mean, direction, mixing, m, (0.0, 1.0), noise)
    low, high = torch.full_like(m, -1e4), torch.full_like(m, 1e4)
    for _ in range(100):
        middle = 0.5 * (low + high)
        excess = mixing((mean + direction * middle[:, None]).clamp(0.0, 1.0)) + noise * middle - m
        low, high = torch.where(excess <= 0, middle, low), torch.where(excess > 0, middle, high)
    assert feasible.all()
    assert torch.allclose(projected, (mean + direction * low[:, None]).clamp(0.0, 1.0), atol=1e-9)


@pytest.mark.parametrize(
    ("weights", "alike"), [*((weights, False) for weights in WEIGHTS), *((w, True) for w in WEIGHTS[:2])]
)
def test_the_estimate_is_within_bounds_and_on_the_constraint(weights: tuple[float, ...], alike: bool) -> None:
    mixing = WeightedSum(weights)
    truth = uniform(4, len(weights), 1, 30).round(decimals=1)  # black and white are among them
    m = mixing(truth)
    posterior = DiracPosterior(Outside(), mixing, m, alike=alike, bounds=(0.0, 1.0))
    free = DiracPosterior(Outside(), mixing, m, alike=alike)
    state, sigma = uniform(*posterior.like.shape, seed=3), torch.tensor(0.5, dtype=torch.float64)
    h = posterior.sources(state + sigma**2 * posterior.score(state, sigma))
    x = posterior.sources(state)
    estimate = x + sigma**2 * Outside().score(x, sigma)
    assert torch.allclose(posterior.consistent(estimate, (sigma**2).expand_as(x)), h, atol=1e-12)
    assert torch.allclose(mixing(h), m, atol=1e-12)
    assert float(h.min()) >= -1e-12
    assert float(h.max()) <= 1.0 + 1e-12
    further = free.sources(state + sigma**2 * free.score(state, sigma))
    if not alike:  # equal variances: the metric is the Euclidean one
        assert bool(((h - truth).flatten(1).norm(dim=1) <= (further - truth).flatten(1).norm(dim=1)).all())


def test_where_the_mixture_is_dark_or_brightest_so_are_the_sources() -> None:
    m = torch.tensor([[[0.0, 1.0, 2.0]]])
    posterior = DiracPosterior(Outside(), WeightedSum((1.0, 1.0)), m, bounds=(0.0, 1.0))
    samples = posterior.sources(Projected(steps=3)(posterior, torch.tensor([0])))
    assert torch.allclose(samples[0, :, 0, 0], torch.zeros(2), atol=1e-6)
    assert torch.allclose(samples[0, :, 0, 2], torch.ones(2), atol=1e-6)


def test_within_bounds_nothing_changes() -> None:
    mixing, m = WeightedSum((1.0, 0.5)), torch.full((1, 1, 8), 0.75)
    prior = Outside()
    state = 0.01 * uniform(1, 1, 1, 8).float()
    sigma = torch.tensor(0.5)
    free = DiracPosterior(prior, mixing, m).score(state, sigma)
    assert torch.allclose(
        DiracPosterior(prior, mixing, m, bounds=(-9.0, 9.0)).score(state, sigma), free, atol=1e-4
    )


def test_a_mixture_that_nothing_within_makes_is_met_without_bounds() -> None:
    m = torch.tensor([[[-0.3, 1.0, 2.4]]])
    posterior = DiracPosterior(Outside(), WeightedSum((1.0, 1.0)), m, bounds=(0.0, 1.0))
    samples = posterior.sources(Projected(steps=3)(posterior, torch.tensor([0])))
    assert torch.allclose(samples.sum(1), m, atol=1e-5)


def test_bounds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(UsageError, match=r"(?=.*1\.0)(?=.*0\.0)"):
        DiracPosterior(Outside(), WeightedSum((1.0, 1.0)), torch.ones(1, 1, 1), bounds=(1.0, 0.0))
