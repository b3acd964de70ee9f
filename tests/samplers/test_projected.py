"""Samplers on the constraint against closed forms: every step, where they end, and their biases.

Known biases, pinned here. η = 1 draws at a lower temperature (half the variance where the levels are
dense). A prior that does not know how sure it is (no C) errs in mean and spread where the sources are not
equally uncertain. A start at σ_max leaves 1/σ_max of the way from equal shares. Euler's error is of first
order in the number of levels.
"""

from __future__ import annotations

import pytest
import torch
from exact_priors import GaussianPixels, MixturePixels, gaussian_posterior, moments_of
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.posterior.dirac import DiracPosterior, NullSpace
from sepcli.protocols import Sampler
from sepcli.samplers.msdm import MultiSource
from sepcli.samplers.projected import Projected
from sepcli.signal.mixing import WeightedSum

CASES = [
    ((0.3, 0.6), (0.02, 0.3), (1.0, 1.0)),
    ((0.3, 0.6, 0.1), (0.02, 0.05, 0.3), (0.5, 1.0, 1.5)),
    ((0.3, 0.6, 0.1, 0.2), (0.02, 0.2, 0.1, 0.03), (1.0, 1.0, 1.0, 0.25)),
]
MIXTURE = 0.8
Case = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]


def draw(
    prior: GaussianPixels | MixturePixels,
    weights: tuple[float, ...],
    sampler: Sampler,
    *,
    weigh: bool = True,
    sigma_y: float = 0.0,
    pixels: int = 20_000,
) -> Tensor:
    mixture = torch.full((1, 1, pixels), MIXTURE)
    moments = prior.moments if weigh else None
    posterior = DiracPosterior(prior, WeightedSum(weights), mixture, moments=moments, sigma_y=sigma_y)
    return posterior.sources(sampler(posterior, torch.tensor([11])))


def projected_chain(case: Case, sampler: Projected, weigh: bool) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the last estimate, from METHODS' equations in the space of the sources."""
    mu, v, a = (torch.tensor(t, dtype=torch.float64) for t in case)
    eye = torch.eye(len(mu), dtype=torch.float64)
    p = eye - torch.outer(a, a) / (a @ a)
    sigmas = sampler.sigmas().tolist()
    m, cov = a * MIXTURE / (a @ a), sigmas[0] ** 2 * p
    for sigma, following in zip(sigmas, [*sigmas[1:], 0.0], strict=True):
        c = v * sigma**2 / (v + sigma**2) if weigh else torch.ones_like(v)
        gain = torch.outer(a * c, a) / (a @ (a * c))
        d_m, d_c = (v * m + sigma**2 * mu) / (v + sigma**2), (v / (v + sigma**2)).diag()
        h_m, h_c = d_m + a * c / (a @ (a * c)) * (MIXTURE - a @ d_m), (eye - gain) @ d_c
        eta = sampler.fresh_noise(sigma, following)
        keep = following / sigma * (1 - eta**2) ** 0.5
        step = h_c + keep * p @ (eye - h_c)
        m = h_m + keep * p @ (m - h_m)
        cov = step @ cov @ step.T + (following * eta) ** 2 * p
    return m, cov


def multi_source_chain(case: Case, sampler: MultiSource) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the last state for a prior that knows C."""
    a = torch.tensor(case[2], dtype=torch.float64)
    eye = torch.eye(len(a), dtype=torch.float64)
    p = eye - torch.outer(a, a) / (a @ a)
    centre, target = gaussian_posterior(*case, MIXTURE, 0.0)
    sigmas = sampler.sigmas().tolist()
    grow = 1.0 + min(sampler.churn / sampler.steps, 2**0.5 - 1.0)
    m, cov = a * MIXTURE / (a @ a), sigmas[0] ** 2 * p
    for sigma, following in zip(sigmas, [*sigmas[1:], 0.0], strict=True):
        for repeat in range(sampler.repeats):
            noise = (sigma**2 - following**2 if repeat else 0.0) + sigma**2 * (grow**2 - 1)
            now = sigma * grow
            noisy = target + now**2 * p + torch.outer(a, a) / (a @ a)
            step = p - (now - following) * now * p @ torch.linalg.inv(noisy) @ p
            m, cov = centre + step @ (m - centre), step @ (cov + noise * p) @ step.T
    return m, cov


def close(actual: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], tolerance: float) -> None:
    scale = expected[1].diag().sqrt()
    assert ((actual[0] - expected[0]).abs() <= tolerance * scale + 1e-5).all()
    assert ((actual[1] - expected[1]).abs() <= tolerance * torch.outer(scale, scale) + 1e-7).all()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weigh", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0, None])
def test_every_projected_step_is_the_equation(case: Case, weigh: bool, eta: float | None) -> None:
    sampler = Projected(steps=12, eta=eta)
    actual = moments_of(draw(GaussianPixels(case[0], case[1]), case[2], sampler, weigh=weigh))
    close(actual, projected_chain(case, sampler, weigh), 0.05)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("churn", "repeats"), [(0.0, 1), (2.0, 2), (40.0, 3)])
def test_every_multi_source_step_is_the_equation(case: Case, churn: float, repeats: int) -> None:
    sampler = MultiSource(steps=8, repeats=repeats, churn=churn, sigma_max=2.0, sigma_min=0.05, rho=3.0)
    actual = moments_of(draw(GaussianPixels(case[0], case[1]), case[2], sampler))
    close(actual, multi_source_chain(case, sampler), 0.05)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("churn", [0.0, 50.0])
@pytest.mark.parametrize("eta", [0.0, None])
def test_many_levels_draw_the_posterior(case: Case, churn: float, eta: float | None) -> None:
    exact = gaussian_posterior(*case, MIXTURE, 0.0)
    schedule = {"sigma_max": 30.0, "sigma_min": 0.01, "rho": 4.0}
    close(projected_chain(case, Projected(steps=800, eta=eta, **schedule), True), exact, 0.04)
    close(multi_source_chain(case, MultiSource(steps=800, repeats=2, churn=churn, **schedule)), exact, 0.08)
    few, more = (
        projected_chain(case, Projected(steps=n, eta=eta, **schedule), True)[1] - exact[1] for n in (250, 500)
    )
    assert float(few.norm() / more.norm()) == pytest.approx(2.0, abs=0.35)  # of first order


def test_a_low_start_pulls_to_equal_shares() -> None:
    case = CASES[0]
    exact = gaussian_posterior(*case, MIXTURE, 0.0)[0]
    starts = [projected_chain(case, Projected(steps=1500, eta=0.0, sigma_max=s), True)[0] for s in (2.0, 4.0)]
    off = [float((start - exact).abs().max()) for start in starts]
    assert off[0] / off[1] == pytest.approx(2.0, abs=0.2)  # the flow keeps 1/σ_max of where it started


@pytest.mark.parametrize("case", CASES)
def test_a_noisy_mixture_draws_the_posterior_too(case: Case) -> None:
    mean, var, weights = case
    sampler = Projected(steps=200, eta=None, sigma_max=4.0)
    actual = moments_of(draw(GaussianPixels(mean, var), weights, sampler, sigma_y=0.2, pixels=6000))
    close(actual, gaussian_posterior(mean, var, weights, MIXTURE, 0.2**2), 0.12)


def test_fresh_noise_halves_the_variance() -> None:
    case = ((0.5, 0.5), (0.1, 0.1), (1.0, 1.0))
    dense = Projected(steps=4000, sigma_max=0.5, sigma_min=0.02, rho=1.0)
    _, exact = gaussian_posterior(*case, MIXTURE, 0.0)
    _, cov = projected_chain(case, dense, weigh=True)
    assert float(cov[0, 0] / exact[0, 0]) == pytest.approx(0.5, abs=0.03)
    _, usual = projected_chain(case, Projected(), weigh=True)
    assert float(usual[0, 0] / exact[0, 0]) == pytest.approx(0.467, abs=0.01)


def test_without_moments_unequal_sources_are_biased() -> None:
    case = CASES[0]
    exact = gaussian_posterior(*case, MIXTURE, 0.0)
    sampler = Projected(steps=1500, eta=0.0, sigma_max=50.0, rho=4.0)
    knowing, plain = (projected_chain(case, sampler, weigh) for weigh in (True, False))
    assert torch.allclose(knowing[0], exact[0], atol=2e-3)
    assert float(knowing[1][0, 0] / exact[1][0, 0]) == pytest.approx(1.0, abs=0.01)
    # without C the spread is the geometric mean of the sources' variances, not their harmonic mean
    v = case[1]
    assert float(plain[1][0, 0]) == pytest.approx((v[0] * v[1]) ** 0.5 / 2, rel=0.02)
    assert float(exact[1][0, 0]) == pytest.approx(v[0] * v[1] / (v[0] + v[1]))
    assert float((plain[0] - exact[0]).abs().max()) == pytest.approx(0.022, abs=0.004)
    equal = (case[0], (0.1, 0.1), case[2])
    assert torch.allclose(projected_chain(equal, sampler, False)[1], projected_chain(equal, sampler, True)[1])


@pytest.mark.parametrize("weigh", [False, True])
@pytest.mark.parametrize(
    "sampler", [Projected(steps=9), MultiSource(steps=5)], ids=["projected", "multi-source"]
)
def test_the_sources_sum_to_the_mixture_at_every_step(sampler: Sampler, weigh: bool) -> None:
    prior, weights = GaussianPixels((0.3, 0.6, 0.1), (0.02, 0.05, 0.3)), (0.5, 1.0, 1.5)
    x = draw(prior, weights, sampler, weigh=weigh, pixels=500)
    assert len(prior.asked) == sampler.evaluations
    for sources in [*prior.asked, x]:
        error = (WeightedSum(weights)(sources) - MIXTURE).abs().max()
        assert error <= 4e-7 * max(1.0, float(sources.abs().max()))


def test_two_modes_get_their_shares() -> None:
    share = torch.tensor([[0.5, 0.5], [0.7, 0.3]])
    centre, var = torch.tensor([[0.0, 1.0], [0.0, 0.8]]), torch.full((2, 2), 0.02)
    prior = MixturePixels(share, centre, var)
    sampler = Projected(steps=150, eta=None, sigma_max=4.0)
    actual = draw(prior, (1.0, 1.0), sampler, pixels=8000)[0, 0, 0].double()
    x = torch.linspace(-1, 2, 3000, dtype=torch.float64)
    pair = torch.stack([x, MIXTURE - x])[None]
    log = prior.log_density(pair, torch.tensor(0.0)).sum(1)[0]
    p = (log - log.max()).exp()
    p = p / p.sum()
    mean = float((x * p).sum())
    variance = float(((x - mean) ** 2 * p).sum().sqrt())
    # the score on the constraint is not that of the noisy posterior once the prior is no Gaussian
    assert float(actual.mean()) == pytest.approx(mean, abs=0.15 * variance)
    assert float(actual.std()) == pytest.approx(variance, rel=0.15)


def test_plain_euler_is_the_projected_sampler_without_noise() -> None:
    prior, weights = GaussianPixels((0.3, 0.6), (0.02, 0.3)), (1.0, 1.0)
    schedule = {"sigma_max": 2.0, "sigma_min": 0.01, "rho": 3.0}
    one = draw(prior, weights, Projected(steps=10, eta=0.0, **schedule), pixels=50)
    other = draw(prior, weights, MultiSource(steps=10, repeats=1, churn=0.0, **schedule), pixels=50)
    assert torch.allclose(one, other, atol=1e-5)


def test_free_noise_is_the_projection_of_noise() -> None:
    null = NullSpace((1.0, 2.0))
    z = torch.randn(1, 1, 1, 50_000, generator=torch.Generator().manual_seed(0))
    _, cov = moments_of(null.lift(z, torch.zeros(1, 1, 50_000)))
    a = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert torch.allclose(cov, torch.eye(2, dtype=torch.float64) - torch.outer(a, a) / 5, atol=0.02)


@pytest.mark.parametrize("bad", [{"eta": 1.5}, {"eta": -0.1}, {"steps": 0}, {"rho": 0.0}, {"sigma_min": 3.0}])
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Projected(**bad)  # type: ignore[arg-type]
    for wrong in ({"churn": -1.0}, {"repeats": 0}, {"steps": 0}):
        with pytest.raises(UsageError):
            MultiSource(**wrong)  # type: ignore[arg-type]
