"""The variational posterior of linear Gaussian models, whose evidence is known: the bound and its optimum."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sepcli.posterior.gaussian_sources import GaussianSources
from sepcli.signal.mixing import WeightedSum

MIXING = WeightedSum((1.0, -0.5, 2.0))
VARIANCES = torch.tensor([0.5, 1.5, 0.1], dtype=torch.float64).view(1, 3, 1, 1)
"""Of three white sources."""
LENGTH = 4
DRAWS = 4000


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def log_normal(x: Tensor, variance: Tensor | float) -> Tensor:
    v = torch.as_tensor(variance, dtype=torch.float64)
    return -0.5 * (x.square() / v + torch.log(2 * math.pi * v)).flatten(1).sum(1)


def evidence(mixture: Tensor, mixing: WeightedSum, variances: Tensor, noise: float) -> Tensor:
    """log p(m) of white Gaussian sources, exactly."""
    weights = torch.tensor(mixing.weights, dtype=torch.float64)
    return log_normal(mixture, float((weights**2 * variances.flatten()).sum()) + noise**2)


def bound(q: GaussianSources, variances: Tensor, seed: int = 1) -> Tensor:
    x = q.sample(draw(*q.mean.shape, seed=seed))
    return log_normal(x, variances.expand_as(x)) + q.log_ratio(x)


def posterior(mean: Tensor, std: Tensor, mixture: Tensor, noise: float) -> GaussianSources:
    shape = (len(mixture), 3, 1, LENGTH)
    return GaussianSources(mean.expand(shape), std.expand(shape), mixture, MIXING, noise)


def test_an_exact_mixture_has_a_tight_bound() -> None:
    """At the prior's own mean and standard deviation every single draw says log p(m) itself."""
    mixture = draw(5, 1, LENGTH)
    q = posterior(torch.zeros(1, dtype=torch.float64), VARIANCES.sqrt(), mixture, 0.0)
    torch.testing.assert_close(bound(q, VARIANCES), evidence(mixture, MIXING, VARIANCES, 0.0))


def test_one_source_under_noise_has_a_tight_bound() -> None:
    mixture, variance, noise = draw(5, 1, LENGTH), torch.tensor([0.7], dtype=torch.float64), 0.4
    precision = 1 / variance + 4.0 / noise**2
    mean = (2.0 * mixture / noise**2 / precision)[:, None]
    std = precision.rsqrt().expand_as(mean)
    q = GaussianSources(mean, std, mixture, WeightedSum((2.0,)), noise)
    expected = evidence(mixture, WeightedSum((2.0,)), variance, noise)
    torch.testing.assert_close(bound(q, variance), expected)


def test_independent_sources_miss_the_evidence_by_their_dependence() -> None:
    """The best product of Gaussians is ½(Σ log Λ_kk - log det Λ) per sample below, Λ the precision."""
    noise, mixture = 0.5, draw(1, 1, LENGTH)
    a = torch.tensor(MIXING.weights, dtype=torch.float64)
    precision = torch.diag(1 / VARIANCES.flatten()) + torch.outer(a, a) / noise**2
    mean = torch.linalg.solve(precision, a / noise**2)[None, :, None, None] * mixture[:, None]
    std = precision.diagonal().rsqrt().view(1, 3, 1, 1)
    missing = 0.5 * LENGTH * (precision.diagonal().log().sum() - torch.logdet(precision))
    exact = evidence(mixture, MIXING, VARIANCES, noise)
    many = posterior(mean.expand(DRAWS, -1, -1, -1), std, mixture.expand(DRAWS, -1, -1), noise)
    actual = bound(many, VARIANCES)
    error = float(actual.std()) / math.sqrt(DRAWS)
    assert float(actual.mean()) == pytest.approx(float(exact - missing), abs=4 * error)
    assert missing > 20 * error  # the test can tell the two apart


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize(("shift", "widen"), [(0.3, 1.0), (0.0, 1.6), (-0.2, 0.5)])
def test_elsewhere_it_is_below_the_evidence(noise: float, shift: float, widen: float) -> None:
    mixture = draw(1, 1, LENGTH).expand(DRAWS, -1, -1)
    mean = torch.tensor([shift, 0.0, shift], dtype=torch.float64).view(1, 3, 1, 1)
    scale = torch.tensor([widen, 1.0, 1.0], dtype=torch.float64).view(1, 3, 1, 1)
    actual = bound(posterior(mean, scale * VARIANCES.sqrt(), mixture, noise), VARIANCES)
    error = float(actual.std()) / math.sqrt(DRAWS)
    assert float(actual.mean()) < float(evidence(mixture[:1], MIXING, VARIANCES, noise)) - 3 * error


def test_ascending_the_bound_finds_the_evidence() -> None:
    mixture = draw(1, 1, LENGTH)
    mean = torch.full((1, 3, 1, LENGTH), 1.0, dtype=torch.float64, requires_grad=True)
    log_std = torch.zeros(1, 3, 1, LENGTH, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([mean, log_std], 0.05)
    rows = mixture.expand(64, -1, -1)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, 300)
    for step in range(300):
        q = posterior(mean, log_std.exp(), rows, 0.0)
        loss = -bound(q, VARIANCES, seed=step).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    assert -float(loss.detach()) == pytest.approx(float(evidence(mixture, MIXING, VARIANCES, 0.0)), abs=0.1)


@given(
    st.lists(st.floats(0.1, 3.0) | st.floats(-3.0, -0.1), min_size=2, max_size=5),
    st.lists(st.floats(0.01, 3.0), min_size=5, max_size=5),
)
@settings(max_examples=25, deadline=None)
def test_draws_sum_to_an_exact_mixture(weights: list[float], stds: list[float]) -> None:
    count, mixing = len(weights), WeightedSum(tuple(weights))
    std = torch.tensor(stds[:count], dtype=torch.float64).view(1, count, 1, 1).expand(2, -1, 1, 3)
    q = GaussianSources(draw(2, count, 1, 3), std, draw(2, 1, 3, seed=1), mixing)
    for x in (q.expected(), q.sample(draw(2, count, 1, 3, seed=2))):
        torch.testing.assert_close(mixing(x), q.mixture)


def test_the_unsure_takes_what_is_missing_and_draws_have_the_mean() -> None:
    std = torch.tensor([1.0, 2.0, 1e-6], dtype=torch.float64).view(1, 3, 1, 1)
    mixture = torch.ones(1, 1, LENGTH, dtype=torch.float64)
    q = posterior(torch.zeros(1, dtype=torch.float64), std, mixture, 0.0)
    shares = torch.tensor([1.0 / 2.0, -2.0 / 2.0, 0.0], dtype=torch.float64)  # α ρ²/Σ α² ρ², = (1, -2, 0)/2
    torch.testing.assert_close(q.expected()[0, :, 0, 0], shares, atol=1e-9, rtol=0)
    many = posterior(torch.zeros(1, dtype=torch.float64), std, mixture.expand(DRAWS, -1, -1), 0.0)
    mean = many.sample(draw(DRAWS, 3, 1, LENGTH)).mean((0, 2, 3))
    torch.testing.assert_close(mean, shares, atol=0.05, rtol=0)
    loose = posterior(torch.zeros(1, dtype=torch.float64), std, mixture, 0.1)
    assert not loose.expected().any()
