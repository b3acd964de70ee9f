"""The constraint's free directions, and the score on them."""

from __future__ import annotations

import re

import pytest
import torch
from exact_priors import GaussianPixels, MixturePixels
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.posterior.dirac import DiracPosterior, NullSpace
from sepcli.protocols import Sampler
from sepcli.samplers.msdm import MultiSource
from sepcli.samplers.projected import Projected
from sepcli.samplers.successive_halving import Halving
from sepcli.signal.mixing import WeightedSum

WEIGHTS = [(1.0, 1.0), (0.5, 0.5), (1.0, -3.0), (0.0, 1.0), (0.5, 1.0, 2.0), (1.0, 1.0, 1.0, 1.0)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_free_coordinates_are_an_isometry_of_the_constraint(weights: tuple[float, ...]) -> None:
    null, mixing, k = NullSpace(weights), WeightedSum(weights), len(weights)
    z, m = random(2, k - 1, 1, 3), random(2, 1, 3, seed=1)
    x = null.lift(z, m)
    assert torch.allclose(mixing(x), m, atol=1e-14)
    assert torch.allclose(null.coordinates(x), z, atol=1e-14)
    a = torch.tensor(weights, dtype=torch.float64)
    projector = torch.eye(k, dtype=torch.float64) - torch.outer(a, a) / (a @ a)
    noise = random(2, k, 1, 3, seed=2)
    moved = null.lift(null.coordinates(noise), torch.zeros_like(m))
    assert torch.allclose(moved, torch.einsum("jk,bk...->bj...", projector, noise), atol=1e-14)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_score_without_moments_is_the_gradient_on_the_constraint(weights: tuple[float, ...]) -> None:
    k = len(weights)
    prior = MixturePixels(
        torch.full((k, 2), 0.5), torch.arange(2 * k).view(k, 2) / 4, torch.linspace(0.1, 1, 2 * k).view(k, 2)
    )
    m, sigma = random(2, 1, 5), torch.tensor(0.4, dtype=torch.float64)
    z = random(2, k - 1, 1, 5, seed=1).requires_grad_()
    (expected,) = torch.autograd.grad(prior.log_prob(NullSpace(weights).lift(z, m), sigma).sum(), z)
    posterior = DiracPosterior(prior, WeightedSum(weights), m)
    assert posterior.like.shape == z.shape
    assert torch.allclose(posterior.score(z.detach(), sigma), expected, atol=1e-12)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("sigma_y", [0.0, 0.3])
def test_with_exact_moments_it_is_the_score_of_the_noisy_posterior(
    weights: tuple[float, ...], sigma_y: float
) -> None:
    k = len(weights)
    mean, var = torch.linspace(-1, 1, k).tolist(), torch.linspace(0.1, 2, k).tolist()
    prior, m, sigma = GaussianPixels(mean, var), random(1, 1, 4), torch.tensor(0.7, dtype=torch.float64)
    posterior = DiracPosterior(prior, WeightedSum(weights), m, moments=prior.moments, sigma_y=sigma_y)
    a, mu, v = (torch.tensor(t, dtype=torch.float64) for t in (weights, mean, var))
    total = (a**2 * v).sum() + sigma_y**2
    cov = v.diag() - torch.outer(a * v, a * v) / total
    centre = mu[None, :, None, None] + (a * v / total)[None, :, None, None] * (m[:, None] - a @ mu)
    state = random(*posterior.like.shape, seed=1)
    if sigma_y:
        noisy, residual = cov, centre - state
    else:
        basis = NullSpace(weights).coordinates(torch.eye(k, dtype=torch.float64)[None])[0]
        noisy = basis @ cov @ basis.T
        residual = NullSpace(weights).coordinates(centre) - state
    noisy = noisy + sigma**2 * torch.eye(len(noisy), dtype=torch.float64)
    expected = torch.einsum("jk,bk...->bj...", torch.linalg.inv(noisy), residual)
    assert torch.allclose(posterior.score(state, sigma), expected, atol=1e-10)


@pytest.mark.parametrize("sigma_y", [0.0, 0.3])
def test_sources_alike_get_the_exact_mean_when_their_errors_are_fully_correlated(sigma_y: float) -> None:
    a = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    scatter = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    mean, m = random(1, 3, 1, 4), random(1, 1, 4, seed=1)
    variance = scatter.square()[None, :, None, None].expand_as(mean)
    prior = GaussianPixels([0.0] * 3, [1.0] * 3)
    posterior = DiracPosterior(prior, WeightedSum(a.tolist()), m, sigma_y=sigma_y, alike=True)
    cov = torch.outer(scatter, scatter)
    gain = cov @ a / (a @ cov @ a + sigma_y**2)
    expected = mean + torch.einsum("k,bcd->bkcd", gain, m - torch.einsum("k,bkcd->bcd", a, mean))
    assert torch.allclose(posterior.consistent(mean, variance), expected, atol=1e-12)


def test_channels_alike_stay_gray_where_independent_ones_turn_green() -> None:
    class Nothing:
        def score(self, x: Tensor, sigma: Tensor) -> Tensor:
            return (0.5 - x) / sigma**2

    luma, m = (0.299, 0.587, 0.114), torch.full((1, 1, 1), 0.9)
    for alike in (True, False):
        posterior = DiracPosterior(Nothing(), WeightedSum(luma), m, alike=alike)
        x = posterior.sources(Projected(steps=4)(posterior, torch.tensor([0])))
        assert torch.allclose(WeightedSum(luma)(x), m, atol=1e-5)
        assert (float(x.std()) < 1e-5) == alike


def test_sources_alike_need_positive_weights() -> None:
    with pytest.raises(UsageError):
        DiracPosterior(GaussianPixels([0.0], [1.0]), WeightedSum((1.0, -1.0)), random(1, 1, 4), alike=True)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_isotropic_noise_leaves_the_estimate_on_the_constraint(weights: tuple[float, ...]) -> None:
    k = len(weights)
    prior = GaussianPixels(torch.linspace(-1, 1, k).tolist(), torch.linspace(0.1, 2, k).tolist())
    m, sigma = random(2, 1, 4), torch.tensor(0.7, dtype=torch.float64)
    whole = DiracPosterior(prior, WeightedSum(weights), m, moments=prior.moments, isotropic=True)
    free = DiracPosterior(prior, WeightedSum(weights), m, moments=prior.moments)
    x = random(2, k, 1, 4, seed=1)
    assert whole.like.shape == x.shape
    h = x + sigma**2 * whole.score(x, sigma)
    assert torch.allclose(WeightedSum(weights)(h), m, atol=1e-12)
    # of Gaussians, what noise there is along the mixture says nothing of the sources
    null = NullSpace(weights)
    z = null.coordinates(x)
    assert torch.allclose(null.coordinates(h), z + sigma**2 * free.score(z, sigma), atol=1e-12)


class LoudOrQuiet:
    """Items that are loud or quiet as a whole: N(0, s² I) with s = 1 or 0.1, each as probable; exact."""

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, K, 1, D)."""
        v = torch.tensor([1.0, 0.01], dtype=x.dtype) + sigma**2
        log_p = -0.5 * (x.square().sum(-1, keepdim=True) / v + x.shape[-1] * v.log())
        score: Tensor = -x * (log_p.softmax(-1) / v).sum(-1, keepdim=True)
        return score


def test_a_prior_that_hears_loudness_needs_isotropic_noise() -> None:
    """Two loud sources: on the constraint alone the noise is half of what the prior was told."""
    sources = random(4, 2, 1, 200)
    mixture, sampler = sources.sum(1), Projected(steps=200, sigma_max=10.0, sigma_min=0.01, eta=None)
    power = {}
    for isotropic in (False, True):
        posterior = DiracPosterior(LoudOrQuiet(), WeightedSum((1.0, 1.0)), mixture, isotropic=isotropic)
        samples = posterior.sources(sampler(posterior, torch.arange(4)))
        assert torch.allclose(samples.sum(1), mixture, atol=1e-6)
        power[isotropic] = float(samples.square().mean())
    assert power[True] == pytest.approx(1.0, abs=0.15)
    assert power[False] < 0.7


def test_the_estimate_moves_most_where_the_prior_is_least_sure() -> None:
    posterior = DiracPosterior(GaussianPixels((0, 0), (1, 1)), WeightedSum((1.0, 1.0)), torch.ones(1, 1, 1))
    h = posterior.consistent(torch.zeros(1, 2, 1, 1), torch.tensor([3.0, 1.0]).view(1, 2, 1, 1))
    assert h.flatten().tolist() == [0.75, 0.25]


def test_a_noisy_mixture_without_moments_is_a_gaussian_likelihood() -> None:
    prior, mixing, m = GaussianPixels((0.1, 0.4), (0.2, 0.9)), WeightedSum((1.0, 0.5)), random(1, 1, 6)
    sigma, x = torch.tensor(0.3, dtype=torch.float64), random(1, 2, 1, 6, seed=1)
    score = DiracPosterior(prior, mixing, m, sigma_y=0.2).score(x, sigma)
    own = prior.score(x, sigma)
    residual = (m - mixing(x + sigma**2 * own)) / (1.25 * sigma**2 + 0.2**2)
    assert torch.allclose(score, own + mixing.adjoint(residual))


class Watched(DiracPosterior):
    """It keeps the states that it is asked about."""

    seen: list[Tensor]

    def assess(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append(state)
        return super().assess(state, sigma)


LITTLE = {"sigma_max": 1e-6, "sigma_min": 1e-7}
SAMPLERS = [Projected(2, **LITTLE), MultiSource(2, **LITTLE)]
SAMPLERS.append(Halving(2, 3, **LITTLE, decide_from=1e-6, decide_to=1e-7, end_from=1e-7))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: type(sampler).__name__)
@pytest.mark.parametrize("from_mixture", [False, True])
def test_where_sampling_begins(sampler: Sampler, from_mixture: bool) -> None:
    prior, mixing, m = GaussianPixels((0.1, 0.4), (0.2, 0.9)), WeightedSum((1.0, 0.5)), random(2, 1, 6)
    posterior = Watched(prior, mixing, m, isotropic=True, from_mixture=from_mixture)
    posterior.seen = []
    sampler(posterior, torch.arange(2))
    expected = torch.stack([m, 2 * m], dim=1) * from_mixture
    assert torch.equal(posterior.start, expected)
    assert torch.allclose(posterior.seen[0], expected, atol=1e-5)


@pytest.mark.parametrize(("weights", "isotropic"), [((1.0, 1.0), False), ((1.0, 0.0), True)])
def test_not_every_source_can_begin_as_the_mixture(weights: tuple[float, ...], isotropic: bool) -> None:
    prior, m = GaussianPixels((0, 0), (1, 1)), torch.ones(1, 1, 1)
    with pytest.raises(UsageError):
        DiracPosterior(prior, WeightedSum(weights), m, isotropic=isotropic, from_mixture=True)


def test_what_cannot_be_used_is_refused() -> None:
    for bad in ((1.0,), (0.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(UsageError, match=re.escape(str(bad))):
            NullSpace(bad)
    with pytest.raises(UsageError, match="sigma_y"):
        DiracPosterior(GaussianPixels((0, 0), (1, 1)), WeightedSum((1, 1)), torch.ones(1, 1, 1), sigma_y=-1)
