"""The posterior with the covariance from the denoiser's Jacobian, against that of Gaussian fields."""

from __future__ import annotations

import pytest
import torch
from exact_priors import GaussianFields, MixturePixels
from torch import Tensor

from sepcli.errors import PriorError
from sepcli.posterior.dirac import DiracPosterior
from sepcli.posterior.null_space import NullSpace
from sepcli.priors.flows import score_of
from sepcli.samplers.projected import Projected
from sepcli.samplers.successive_halving import Halving
from sepcli.signal.mixing import WeightedSum

PIXELS = 6
SIGMA = torch.tensor(0.6, dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact_estimate(
    prior: GaussianFields, weights: tuple[float, ...], x: Tensor, m: Tensor, noise: float
) -> Tensor:
    """E[x_0 | x, m] for x (B, K, 1, n) with noise of SIGMA, by the joint covariance of all pixels."""
    pixels, count = prior.cov.shape[-1], len(weights)
    cov, mean = torch.block_diag(*prior.cov), prior.mean.flatten()
    eye = torch.eye(count * pixels, dtype=torch.float64)
    gain = cov @ torch.linalg.inv(cov + SIGMA**2 * eye)
    denoised = mean + (x.flatten(1) - mean) @ gain.T
    left = cov - gain @ cov
    a = torch.kron(torch.tensor([weights], dtype=torch.float64), torch.eye(pixels, dtype=torch.float64))
    total = a @ left @ a.T + noise * torch.eye(pixels, dtype=torch.float64)
    step = left @ a.T @ torch.linalg.inv(total)
    return (denoised + (m.flatten(1) - denoised @ a.T) @ step.T).view_as(x)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 0.5), (1.0, -2.0), (0.5, 1.0, 1.5)])
@pytest.mark.parametrize("sigma_y", [0.0, 0.3])
def test_with_enough_products_the_estimate_is_that_of_the_joint_posterior(
    weights: tuple[float, ...], sigma_y: float
) -> None:
    prior, mixing = GaussianFields.random(len(weights), PIXELS), WeightedSum(weights)
    x, m = random(3, len(weights), 1, PIXELS), random(3, 1, PIXELS, seed=1)
    if not sigma_y:  # on the constraint
        null = NullSpace(weights)
        x = null.lift(null.coordinates(x), m)
    expected = exact_estimate(prior, weights, x, m, sigma_y**2)
    options = {"sigma_y": sigma_y, "isotropic": True}
    errors = []
    for products in (0, 1, 2, PIXELS):
        posterior = DiracPosterior(prior, mixing, m, products=products, **options)  # type: ignore[arg-type]
        h = x + SIGMA**2 * posterior.score(x, SIGMA)
        errors.append(float((h - expected).norm()))
        if not sigma_y:
            assert torch.allclose(mixing(h), m, atol=1e-10)
    assert errors[-1] < 1e-9
    assert errors[0] > errors[2] > errors[-1]


def test_independent_pixels_need_one_product_for_the_diagonal_weights() -> None:
    share, mean = torch.full((2, 2), 0.5), torch.tensor([[0.0, 1.0], [0.2, 0.8]])
    prior = MixturePixels(share, mean, torch.tensor([[0.1, 0.1], [0.02, 0.02]]))
    m, state = random(2, 1, 5), random(2, 1, 1, 5, seed=1)
    plain = DiracPosterior(prior, WeightedSum((1.0, 1.0)), m, moments=prior.moments)
    full = DiracPosterior(prior, WeightedSum((1.0, 1.0)), m, moments=prior.moments, products=1)
    assert torch.allclose(full.score(state, SIGMA), plain.score(state, SIGMA), atol=1e-10)


class Skew:
    """A denoiser whose Jacobian is neither symmetric nor positive, as a trained network's; J = ``matrix``."""

    has_variance = False

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        score: Tensor = (x @ self.matrix.T - x) / sigma**2
        return score


@pytest.mark.parametrize("seed", range(8))
def test_no_jacobian_makes_the_residual_grow(seed: int) -> None:
    prior, m = Skew(random(5, 5, seed=seed)), random(2, 1, 5, seed=seed + 50)
    mixing, x = WeightedSum((1.0, 1.0)), random(2, 2, 1, 5, seed=seed + 100)
    left = []
    for products in range(1, 5):
        posterior = DiracPosterior(prior, mixing, m, isotropic=True, sigma_y=1e-6, products=products)
        h = x + SIGMA**2 * posterior.score(x, SIGMA)
        assert h.isfinite().all()
        assert torch.allclose(mixing(h), m, atol=1e-6)
        left.append(float(h.norm()))
    assert max(left) < 1e3


def test_a_denoiser_without_information_leaves_the_residual_to_the_diagonal() -> None:
    prior, m = Skew(torch.zeros(5, 5, dtype=torch.float64)), random(2, 1, 5)
    mixing, x = WeightedSum((1.0, 1.0)), random(2, 2, 1, 5, seed=1)
    plain, full = (DiracPosterior(prior, mixing, m, isotropic=True, products=n) for n in (0, 2))
    assert torch.equal(full.score(x, SIGMA), plain.score(x, SIGMA))


def test_the_last_solution_helps_at_the_next_noise_level_only() -> None:
    prior, mixing, m = GaussianFields.random(2, PIXELS), WeightedSum((1.0, 1.0)), random(2, 1, PIXELS)
    state = random(2, 1, 1, PIXELS, seed=1)
    expected = exact_estimate(prior, (1.0, 1.0), NullSpace((1.0, 1.0)).lift(state, m), m, 0.0)

    def error(*sigmas: float) -> float:
        posterior = DiracPosterior(prior, mixing, m, products=2)
        for sigma in (*sigmas, float(SIGMA)):
            score = posterior.score(state, torch.tensor(sigma, dtype=torch.float64))
        estimate = NullSpace((1.0, 1.0)).coordinates(expected)
        return float((state + SIGMA**2 * score - estimate).norm())

    assert error(0.62, 0.61) < error()
    assert error(0.3) == error()


SAMPLERS = [Projected(6), Halving(3, 6)]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: type(sampler).__name__)
def test_items_of_a_batch_do_not_depend_on_each_other(sampler: Projected | Halving) -> None:
    prior, m, seeds = GaussianFields.random(2, PIXELS), random(3, 1, PIXELS), torch.tensor([3, 4, 5])

    def sampled(part: slice) -> Tensor:
        return sampler(DiracPosterior(prior, WeightedSum((1.0, 1.0)), m[part], products=2), seeds[part])

    whole = sampled(slice(None))
    assert torch.allclose(sampled(slice(1, 2)), whole[1:2], atol=1e-12)
    assert not whole.requires_grad


def test_a_flow_has_a_jacobian_too() -> None:
    def log_prob(x: Tensor) -> Tensor:
        return -(x.square() + 0.1 * x**4).flatten(1).sum(1)

    x = random(2, 3).requires_grad_()
    score = score_of(log_prob, x)
    (column,) = torch.autograd.grad(score.sum(), x)
    assert torch.allclose(score, -2 * x - 0.4 * x**3)
    assert torch.allclose(column, -2 - 1.2 * x**2)
    with torch.no_grad():
        assert not score_of(log_prob, x).requires_grad


class Constant:
    """A score that is computed without a graph, as by a function under ``torch.no_grad``."""

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        return -x.detach()


def test_a_prior_without_a_graph_is_refused() -> None:
    posterior = DiracPosterior(Constant(), WeightedSum((1.0, 1.0)), random(1, 1, 4), products=1)
    with pytest.raises(PriorError) as error:
        posterior.score(random(1, 1, 1, 4), SIGMA)
    assert error.value.argument == "settings.moments"
