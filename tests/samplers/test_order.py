"""Second order in the number of noise levels, and correlated Gaussian fields by every sampler."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from exact_priors import GaussianFields, GaussianPixels, gaussian_posterior
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.posterior.dirac import DiracPosterior
from sepcli.samplers.projected import Projected
from sepcli.samplers.rng import Rng
from sepcli.separation.engines import score_engine
from sepcli.signal.mixing import WeightedSum

PRIOR = GaussianPixels((0.3, 0.6), (0.02, 0.3))
SCHEDULE: dict[str, Any] = {"sigma_max": 8.0, "sigma_min": 0.005, "rho": 7.0}


def gain_error(order: int, steps: int) -> float:
    """Relative error of ∂(end)/∂(start) of the probability flow, which is linear for a Gaussian."""
    m = torch.full((1, 1, 2), 0.8, dtype=torch.float64)
    posterior = DiracPosterior(PRIOR, WeightedSum((1.0, 1.0)), m, moments=PRIOR.moments)
    sampler = Projected(steps=steps, eta=0.0, order=order, **SCHEDULE)
    start = SCHEDULE["sigma_max"] * Rng([5]).normal(posterior.like)[0, 0, 0]
    end = sampler(posterior, torch.tensor([5]))[0, 0, 0]
    _, cov = gaussian_posterior((0.3, 0.6), (0.02, 0.3), (1.0, 1.0), 0.8, 0.0)
    v = float(2 * cov[0, 0])  # of the free coordinate, (x_1 - x_2)/√2
    exact = (v / (v + SCHEDULE["sigma_max"] ** 2)) ** 0.5
    return abs(float((end[0] - end[1]) / (start[0] - start[1])) / exact - 1.0)


def test_the_error_is_of_the_order() -> None:
    assert gain_error(1, 30) / gain_error(1, 60) == pytest.approx(2.0, rel=0.1)
    assert gain_error(2, 30) / gain_error(2, 60) > 3.8


def test_the_second_order_is_exact_to_a_percent_with_64_levels() -> None:
    assert gain_error(2, 64) < 0.01 < gain_error(1, 64)


def moments(sampler: str, settings: dict[str, Any], items: int = 2000) -> tuple[float, float]:
    """Error of the mean and trace of the covariance over that of the posterior, of two fields of 8 pixels."""
    prior = GaussianFields.random(2, 8)
    m = torch.linspace(-1, 1, 8, dtype=torch.float64)
    engine = score_engine(prior, ("a", "b"), (1.0, 1.0), torch.device("cpu"), sampler, settings)  # type: ignore[arg-type]
    samples = replace(engine, batch=items).sample(m.view(1, 1, 8), torch.arange(items)[None])[0].flatten(1)
    mean, cov = prior.posterior((1.0, 1.0), m)
    error: Tensor = (samples.mean(0) - mean).square().mean().sqrt()
    return float(error), float(torch.cov(samples.T).trace() / cov.trace())


DRAWS = {"steps": 64, "sigma_max": 20.0, "rho": 7.0}
JACOBIAN = {"moments": "jacobian", "products": 2}


@pytest.mark.parametrize(
    ("sampler", "settings", "trace"),
    [
        ("projected", {**DRAWS, "eta": "ancestral", "order": 2}, 1.0),
        ("multi-source", {**DRAWS, "steps": 128, "repeats": 1, "churn": 0, "sigma_min": 0.01}, 0.97),
        # steps of finite size widen by 1/(1 - η λ/2), and noise of the last levels is left
        ("langevin", {"sigma_max": 4.0, "ratio": 0.5, "levels": 16, "steps": 16, "centred": 1}, 1.04),
    ],
)
def test_samplers_draw_the_posterior_of_correlated_fields(
    sampler: str, settings: dict[str, Any], trace: float
) -> None:
    error, ratio = moments(sampler, {**settings, **JACOBIAN})
    assert error < 0.04  # 0.014 is expected of 2,000 samples of standard deviation 0.63
    assert ratio == pytest.approx(trace, abs=0.04)


def test_independent_pixels_are_a_bias_where_there_are_none() -> None:
    error, _ = moments("projected", {**DRAWS, "eta": "ancestral", "order": 2})
    assert error > 0.08


def test_repeats_lower_the_temperature_and_correct_the_start() -> None:
    """On the constraint, many repeats at a level of σ² = v/9 leave half of v + σ² there."""
    prior = GaussianPixels((0.5, 0.5), (0.18, 0.18))
    m = torch.full((1, 1, 20_000), 0.8, dtype=torch.float64)
    posterior = DiracPosterior(prior, WeightedSum((1.0, 1.0)), m, moments=prior.moments)
    v, sigma = 0.18, 0.18**0.5 / 3
    keep = v / (v + sigma**2)
    spread = {}
    for repeats in (1, 100):
        sampler = Projected(1, sigma_max=sigma, sigma_min=sigma, repeats=repeats)
        assert sampler.evaluations == repeats
        spread[repeats] = float(sampler(posterior, torch.tensor([1])).var())
    assert spread[1] == pytest.approx(keep**2 * sigma**2, rel=0.05)
    stationary = sigma**2 / (1 - keep**2)  # of x = h + σ ε
    assert spread[100] == pytest.approx(keep**2 * stationary, rel=0.05)


def test_averaged_noise_has_temperature_one_where_fresh_noise_has_one_half() -> None:
    levels = {"steps": 64, "sigma_max": 4.0, "rho": 3.0}
    _, fresh = moments("projected", levels)
    error, averaged = moments("projected", {**levels, "average": 1, "repeats": 2})
    assert fresh == pytest.approx(0.5, abs=0.05)
    assert averaged == pytest.approx(1.0, abs=0.05)
    assert error < 0.1  # the lag behind noise levels that fall


@pytest.mark.parametrize("settings", [{"eta": 0.5}, {"order": 2}, {"eta": None}])
def test_averaged_noise_is_of_fresh_noise_alone(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        Projected(average=True, **settings)
    assert error.value.argument == "settings.average"
