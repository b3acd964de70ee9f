"""Langevin dynamics against closed forms: what every step does, where it ends, and its biases.

Known biases, pinned here. It draws at σ_L: the sources keep noise of σ_L and a mixture known up to γ(σ_L).
Steps of finite size multiply the variance by 1/(1 - η λ/2) in every direction of precision λ. The number of
steps being finite, a direction in which the prior is much wider than σ keeps some of the uniform start, and
modes keep the shares that they had when the noise last joined them.
"""

from __future__ import annotations

import pytest
import torch
from exact_priors import GaussianFields, GaussianPixels, MixturePixels, gaussian_posterior, moments_of
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.posterior.gaussian import GaussianPosterior
from sepcli.protocols import ScorePrior
from sepcli.samplers.langevin import Langevin
from sepcli.signal.mixing import WeightedSum

CASES = [
    ((0.3, 0.6), (0.02, 0.05), (1.0, 1.0)),
    ((0.3, 0.6, 0.1), (0.02, 0.05, 0.1), (0.5, 1.0, 1.5)),
    ((0.3, 0.6, 0.1, 0.2), (0.02, 0.05, 0.1, 0.03), (1.0, 1.0, 1.0, 0.25)),
]
MIXTURE = 0.8


def draw(
    prior: ScorePrior, weights: tuple[float, ...], sampler: Langevin, pixels: int = 6000, width: float = 1.0
) -> Tensor:
    mixture = torch.full((1, 1, pixels), MIXTURE)
    return sampler(
        GaussianPosterior(prior, WeightedSum(weights), mixture, len(weights), width), torch.tensor([7])
    )


def chain(
    mean: tuple[float, ...],
    var: tuple[float, ...],
    weights: tuple[float, ...],
    sampler: Langevin,
    width: float,
) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the last state: every step is affine in the one before."""
    mu, v, a = (torch.tensor(t, dtype=torch.float64) for t in (mean, var, weights))
    m = torch.full_like(mu, 0.5)
    cov = torch.eye(len(mu), dtype=torch.float64) / 12
    stages = [(sigma, sampler.steps, sampler.noise) for sigma in sampler.sigmas().tolist()]
    for sigma, steps, noise in [*stages, (sampler.sigma_min, sampler.polish, False)]:
        eta, gamma2 = sampler.ratio * sigma**2, width * sigma**2
        step = torch.eye(len(mu), dtype=torch.float64) - eta * (
            (1 / (v + sigma**2)).diag() + torch.outer(a, a) / gamma2
        )
        for _ in range(steps):
            m = step @ m + eta * (mu / (v + sigma**2) + a * MIXTURE / gamma2)
            cov = step @ cov @ step.T + 2 * eta * noise * torch.eye(len(mu), dtype=torch.float64)
    return m, cov


@pytest.mark.parametrize(("mean", "var", "weights"), CASES)
@pytest.mark.parametrize(
    ("sampler", "width"),
    [
        (Langevin(levels=5, steps=8), 1.0),
        (Langevin(ratio=0.3, levels=4, steps=10), 1.0),
        (Langevin(ratio=0.3, levels=3, steps=15, sigma_min=0.1), 1 / 0.9),
        (Langevin(levels=5, steps=8, noise=False), 1.0),
        (Langevin(levels=5, steps=8, anneal=False), 1.0),
        (Langevin(levels=4, steps=8, sigma_min=0.1, polish=3), 1.0),
    ],
)
def test_every_step_is_the_equation(
    mean: tuple[float, ...],
    var: tuple[float, ...],
    weights: tuple[float, ...],
    sampler: Langevin,
    width: float,
) -> None:
    found_mean, found_cov = moments_of(draw(GaussianPixels(mean, var), weights, sampler, width=width))
    expected_mean, expected_cov = chain(mean, var, weights, sampler, width)
    scale = expected_cov.diag().sqrt()
    assert ((found_mean - expected_mean).abs() < 0.06 * scale + 1e-4).all()
    assert ((found_cov - expected_cov).abs() < 0.08 * torch.outer(scale, scale) + 1e-8).all()


@pytest.mark.parametrize(("mean", "var", "weights"), CASES)
def test_small_steps_draw_the_posterior_of_the_last_level(
    mean: tuple[float, ...], var: tuple[float, ...], weights: tuple[float, ...]
) -> None:
    sampler = Langevin(ratio=0.05, levels=2, steps=150, sigma_max=0.3, sigma_min=0.2)
    found_mean, found_cov = moments_of(draw(GaussianPixels(mean, var), weights, sampler))
    noisy = [v + sampler.sigma_min**2 for v in var]
    expected_mean, expected_cov = gaussian_posterior(mean, noisy, weights, MIXTURE, sampler.sigma_min**2)
    scale = expected_cov.diag().sqrt()
    assert ((found_mean - expected_mean).abs() < 0.07 * scale).all()
    assert ((found_cov - expected_cov).abs() < 0.11 * torch.outer(scale, scale)).all()


def test_steps_of_finite_size_widen_the_draws() -> None:
    sampler = Langevin(ratio=0.3, levels=1, steps=120, sigma_max=0.1, sigma_min=0.1)
    _, cov = moments_of(draw(GaussianPixels((0.5, 0.5), (0.01, 0.01)), (1.0, 1.0), sampler, pixels=20_000))
    along = torch.tensor([1.0, 1.0], dtype=torch.float64) / 2**0.5
    across = torch.tensor([1.0, -1.0], dtype=torch.float64) / 2**0.5
    eta, free, held = sampler.ratio * 0.01, 1 / 0.02, 1 / 0.02 + 2 / 0.01
    for direction, precision in ((across, free), (along, held)):
        variance = float(direction @ cov @ direction)
        assert variance == pytest.approx(1 / precision / (1 - eta * precision / 2), rel=0.04)
    assert eta * held / 2 == pytest.approx(0.375)  # along the mixture the variance is 1.6 times too large


def test_correlated_pixels() -> None:
    prior, weights, sigma = GaussianFields.random(2, 3), (1.0, 0.5), 0.4
    mixture = torch.tensor([0.5, -0.2, 1.0]).repeat(1500, 1, 1)
    sampler = Langevin(levels=1, steps=20, sigma_max=sigma, sigma_min=sigma)
    state = sampler(GaussianPosterior(prior, WeightedSum(weights), mixture, 2), torch.arange(1500))
    eye = torch.eye(3, dtype=torch.float64)
    own = torch.block_diag(*torch.linalg.inv(prior.cov + sigma**2 * eye))
    a, eta = torch.cat([w * eye for w in weights], dim=1), sampler.ratio * sigma**2
    step = torch.eye(6, dtype=torch.float64) - eta * (own + a.T @ a / sigma**2)
    force = own @ prior.mean.flatten() + a.T @ mixture[0, 0].double() / sigma**2
    mean, cov = torch.full((6,), 0.5, dtype=torch.float64), torch.eye(6, dtype=torch.float64) / 12
    for _ in range(sampler.steps):
        mean = step @ mean + eta * force
        cov = step @ cov @ step.T + 2 * eta * torch.eye(6, dtype=torch.float64)
    actual, scale = state.flatten(1).double(), cov.diag().sqrt()
    assert ((actual.mean(0) - mean).abs() < 0.1 * scale).all()
    assert ((torch.cov(actual.T) - cov).abs() < 0.12 * torch.outer(scale, scale)).all()


def test_two_modes_get_their_shares() -> None:
    share = torch.tensor([[0.5, 0.5], [0.7, 0.3]])
    centre, var = torch.tensor([[0.0, 1.0], [0.0, 0.8]]), torch.full((2, 2), 0.01)
    prior, sigma, n = MixturePixels(share, centre, var), 0.15, 4000
    sampler = Langevin(ratio=0.05, levels=6, steps=60, sigma_min=sigma)
    actual = draw(prior, (1.0, 1.0), sampler, n)[0, :, 0].double()
    grid = torch.linspace(-1.5, 2.5, 400, dtype=torch.float64)
    x = torch.stack(torch.meshgrid(grid, grid, indexing="ij"))[None]
    log = prior.log_density(x, torch.tensor(sigma)).sum(1)[0] - (MIXTURE - x.sum(1)[0]) ** 2 / (2 * sigma**2)
    p = (log - log.max()).exp()
    p = p / p.sum()
    mean = (x[0] * p).sum((1, 2))
    scatter = ((x[0] - mean[:, None, None]) ** 2 * p).sum((1, 2)).sqrt()
    # the shares of the modes freeze on the way down: 0.08 of the spread, 0.03 with T = 200
    assert ((actual.mean(1) - mean).abs() < 0.12 * scatter).all()
    assert actual.std(1).tolist() == pytest.approx(scatter.tolist(), rel=0.05)


def test_without_noise_it_climbs_to_the_mode() -> None:
    mean, var, weights = CASES[1]
    sampler = Langevin(levels=2, steps=400, sigma_max=0.3, sigma_min=0.3, noise=False)
    actual, cov = moments_of(draw(GaussianPixels(mean, var), weights, sampler, pixels=50))
    noisy = [v + 0.3**2 for v in var]
    assert torch.allclose(actual, gaussian_posterior(mean, noisy, weights, MIXTURE, 0.3**2)[0], atol=1e-4)
    assert cov.abs().max() < 1e-8


def test_polish_takes_the_noise_off_where_the_prior_is_sharp() -> None:
    sharp, weights = GaussianPixels((0.6, 0.1), (1e-6, 1e-6)), (1.0, 1.0)
    _, noisy = moments_of(draw(sharp, weights, Langevin(ratio=0.3, levels=5, sigma_min=0.05)))
    sampler = Langevin(ratio=0.3, levels=5, sigma_min=0.05, polish=20)
    _, polished = moments_of(draw(sharp, weights, sampler))
    assert sampler.evaluations == 520
    assert (polished.diag() < 1e-3 * noisy.diag()).all()


def test_without_annealing_all_steps_are_on_the_last_level() -> None:
    sampler = Langevin(levels=3, steps=2, anneal=False)
    assert sampler.sigmas().tolist() == pytest.approx([0.01] * 3)
    assert sampler.evaluations == 6
    assert sampler.ratio == pytest.approx(0.2)


@pytest.mark.parametrize(
    "bad", [{"ratio": 0.0}, {"steps": 0}, {"levels": 0}, {"sigma_min": 2.0}, {"ratio": float("nan")}]
)
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Langevin(**bad)  # type: ignore[arg-type]
