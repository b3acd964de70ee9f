"""The diffusion bound against closed forms: with exact scores it is the exact log density."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from exact_priors import GaussianFields, GaussianPixels, MixturePixels
from loading import engine_of

from sepcli.errors import UsageError
from sepcli.posterior.elbo import log_density_bound

ZERO = torch.tensor(0.0, dtype=torch.float64)


def points(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_differences_are_those_of_a_gaussian_log_density() -> None:
    prior, x = GaussianFields.random(2, 4), points(5, 2, 1, 4)
    exact = prior.log_prob(x, ZERO)
    actual = log_density_bound(prior, x, levels=300, sigma_max=1e3, sigma_min=1e-3, seed=3)
    torch.testing.assert_close(actual - actual[0], exact - exact[0], atol=1e-4, rtol=1e-4)


def test_a_short_range_compares_its_two_ends() -> None:
    """E log p_σ(x + σ n) at σ_min less that at σ_max; for Gaussian pixels both are known."""
    prior, x = GaussianPixels((0.2, -0.5), (0.3, 2.0)), points(4, 2, 1, 6)
    ends = [prior.log_prob(x, torch.tensor(s, dtype=torch.float64)) for s in (0.05, 1.0)]
    exact = ends[0] - ends[1]
    actual = log_density_bound(prior, x, levels=60)
    torch.testing.assert_close(actual - actual[0], exact - exact[0], atol=1e-3, rtol=1e-3)
    few = log_density_bound(prior, x)
    torch.testing.assert_close(few - few[0], exact - exact[0], atol=0.05, rtol=0.02)


def test_values_are_those_of_a_log_density_that_is_not_gaussian() -> None:
    share, mean, var = [0.3, 0.7], [-1.0, 1.5], [0.1, 0.3]
    prior = MixturePixels(*(torch.tensor([v, v[::-1]], dtype=torch.float64) for v in (share, mean, var)))
    x, least = points(6, 2, 1, 3), 0.01
    settings = {"levels": 40, "sigma_max": 50.0, "sigma_min": least}
    actual = torch.stack([log_density_bound(prior, x, seed=s, **settings) for s in range(60)]).mean(0)
    normalized = actual - 6 / 2 * math.log(2 * math.pi * math.e * least**2)
    exact = prior.log_prob(x, ZERO)
    assert exact.std() > 2
    torch.testing.assert_close(normalized, exact, atol=0.25, rtol=0.02)


def test_an_item_does_not_depend_on_its_batch_and_seeds_matter() -> None:
    prior, x = GaussianFields.random(3, 4), points(4, 3, 1, 4)
    together = log_density_bound(prior, x)
    torch.testing.assert_close(together[2:3], log_density_bound(prior, x[2:3]))
    assert not torch.allclose(together, log_density_bound(prior, x, seed=1))


@pytest.mark.parametrize(
    "wrong", [{"levels": 0}, {"sigma_min": 0.0}, {"sigma_min": 2.0}, {"sigma_max": math.inf}]
)
def test_impossible_ranges_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=re.escape(str(next(iter(wrong.values()))))):
        log_density_bound(GaussianPixels((0.0,), (1.0,)), points(1, 1, 1, 2), **wrong)


def test_separators_know_their_prior(tiny_images: Path) -> None:
    separator = engine_of([str(tiny_images)], (1.0, 1.0), settings={"steps": "2"})
    sources = torch.rand(3, 2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    value = separator.log_prior(sources)
    assert value is not None
    assert value.shape == (3,)
    assert value.unique().numel() == 3
    assert separator.prior is not None
    torch.testing.assert_close(value, log_density_bound(separator.prior, sources))
    parted = replace(separator, batch=2).log_prior(sources)
    torch.testing.assert_close(parted, value, rtol=1e-5, atol=1e-3)
    assert replace(separator, prior=None).log_prior(sources) is None
