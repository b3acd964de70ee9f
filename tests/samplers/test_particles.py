"""Sequential Monte Carlo against closed forms: modes get their shares, where other samplers are biased."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from exact_priors import GaussianFields, GaussianPixels, MixturePixels, gaussian_posterior
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.posterior.dirac import DiracPosterior
from sepcli.samplers import Particles, Projected
from sepcli.separation.engines import score_engine
from sepcli.signal.mixing import WeightedSum

NOISE = 0.02
LEVELS: dict[str, Any] = {"steps": 48, "sigma_max": 8.0, "sigma_min": 0.01, "rho": 7.0}


class TwoPatterns:
    """Source 0 is ±1 on all pixels, with probabilities 0.6 and 0.4, source 1 N(0, 0.3); exact scores."""

    share, var = torch.tensor([0.6, 0.4], dtype=torch.float64), (0.05, 0.3)

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        first, second = x.unbind(1)
        v = self.var[0] + sigma**2
        modes = torch.stack([torch.ones_like(first), -torch.ones_like(first)])
        log = self.share.log()[:, None] - (first - modes).square().flatten(2).sum(2) / (2 * v)
        weight = log.softmax(0).view(2, -1, *[1] * (first.dim() - 1))
        pull = (weight * (modes - first)).sum(0) / v
        return torch.stack([pull, -second / (self.var[1] + sigma**2)], dim=1)

    def first_mode(self, m: Tensor) -> float:
        """Probability of the first pattern given the sum m."""
        v = sum(self.var) + NOISE**2
        log = torch.stack([-(m - 1).square().sum(), -(m + 1).square().sum()]) / (2 * v) + self.share.log()
        return float(log.softmax(0)[0])


def test_modes_get_their_probability() -> None:
    prior, m = TwoPatterns(), 0.04 * torch.ones(1, 1, 4, dtype=torch.float64)
    items, expected = 300, TwoPatterns().first_mode(0.04 * torch.ones(4, dtype=torch.float64))
    shares = {}
    for sampler in (Projected(eta=None, order=2, **LEVELS), Particles(40, **{**LEVELS, "steps": 32})):
        posterior = DiracPosterior(
            prior, WeightedSum((1.0, 1.0)), m.expand(items, -1, -1), sigma_y=NOISE, products=1
        )
        x = sampler(posterior, torch.arange(items))
        assert torch.allclose(x.sum(1), m.expand_as(x[:, 0]), atol=5 * NOISE)
        shares[type(sampler).__name__] = float((x[:, 0].mean((1, 2)) > 0).double().mean())
    assert shares["Particles"] == pytest.approx(expected, abs=0.07)  # 0.024 is the standard error
    assert abs(shares["Projected"] - expected) > 0.15


@pytest.mark.parametrize("products", [0, 2])
def test_the_posterior_of_gaussians_is_exact(products: int) -> None:
    mean, var, weights = (0.3, 0.6), (0.02, 0.3), (1.0, 1.0)
    prior, m = GaussianPixels(mean, var), torch.full((3000, 1, 1), 0.8, dtype=torch.float64)
    posterior = DiracPosterior(
        prior, WeightedSum(weights), m, moments=prior.moments, sigma_y=NOISE, products=products
    )
    x = Particles(4, **LEVELS)(posterior, torch.arange(3000)).flatten(1)
    centre, cov = gaussian_posterior(mean, var, weights, 0.8, NOISE**2)
    assert torch.allclose(x.mean(0), centre, atol=0.015)
    assert float(torch.cov(x.T)[0, 0] / cov[0, 0]) == pytest.approx(1.0, abs=0.1)


def test_fields_need_no_jacobian_with_particles() -> None:
    """The weights correct what independent pixels miss."""
    prior, m = GaussianFields.random(2, 4), torch.linspace(-1, 1, 4, dtype=torch.float64)
    mean, _ = prior.posterior((1.0, 1.0), m)
    errors = {}
    for count in (1, 32):
        engine = score_engine(
            prior,  # type: ignore[arg-type]
            ("a", "b"),
            (1.0, 1.0),
            torch.device("cpu"),
            "particles",
            {**LEVELS, "particles": count, "sigma_max": 20.0},
        )
        assert engine.describe()["settings"]["sigma_y"] == 0.01
        x = replace(engine, batch=400).sample(m.view(1, 1, 4), torch.arange(400)[None])[0].flatten(1)
        errors[count] = float((x.mean(0) - mean).square().mean().sqrt())
    assert errors[32] < 0.06 < errors[1]  # 0.03 is the standard error


def test_an_item_depends_on_its_seed_only() -> None:
    prior = MixturePixels(torch.full((2, 2), 0.5), torch.tensor([[0.0, 1.0]] * 2), torch.full((2, 2), 0.1))
    m, seeds = torch.rand(3, 1, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([3, -1, 2**40])
    sampler, seen = Particles(3, **{**LEVELS, "steps": 6}), list[tuple[int, int]]()

    def sampled(part: slice) -> Tensor:
        posterior = DiracPosterior(
            prior, WeightedSum((1.0, 1.0)), m[part], moments=prior.moments, sigma_y=0.05
        )
        return sampler(posterior, seeds[part], lambda *step: seen.append(step))

    whole = sampled(slice(None))
    assert seen == [(n + 1, sampler.evaluations) for n in range(sampler.evaluations)]
    assert torch.allclose(sampled(slice(1, 2)), whole[1:2], atol=1e-6)
    assert (sampled(slice(0, 1)) != whole[1:2]).any()


def test_a_mixture_without_noise_has_no_weights() -> None:
    prior, m = GaussianPixels((0.3, 0.6), (0.02, 0.3)), torch.full((1, 1, 1), 0.8)
    with pytest.raises(UsageError) as error:
        Particles(2, **LEVELS)(DiracPosterior(prior, WeightedSum((1.0, 1.0)), m), torch.tensor([0]))
    assert error.value.argument == "settings.sigma_y"


@pytest.mark.parametrize("bad", [{"particles": 0}, {"steps": 0}, {"sigma_min": 9.0}])
def test_settings_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Particles(**{**LEVELS, **bad})
