"""The evidence of mixtures of Gaussian fields, against its closed form."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from exact_priors import GaussianFields
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.separation.evidence import Evidence, evidence

PIXELS, NOISE = 6, 0.1
PRIOR = GaussianFields.random(2, PIXELS)


def density(prior: GaussianFields, weights: tuple[float, ...]) -> torch.distributions.MultivariateNormal:
    """p(m) of Σ α_k x_k + N(0, NOISE²)."""
    a = torch.tensor(weights, dtype=torch.float64)
    cov = torch.einsum("k,kab->ab", a.square(), prior.cov) + NOISE**2 * torch.eye(PIXELS)
    return torch.distributions.MultivariateNormal(a @ prior.mean, cov)


def estimated(prior: GaussianFields, weights: tuple[float, ...], m: Tensor, products: int = 3) -> Evidence:
    return evidence(
        prior, weights, m.view(1, PIXELS), sigma_y=NOISE, sigma_max=20.0, samples=60, products=products
    )


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, -1.0)])
@pytest.mark.parametrize("shift", [0.0, 4.0])
def test_it_is_the_analytic_evidence(weights: tuple[float, ...], shift: float) -> None:
    exact = density(PRIOR, weights)
    m = exact.mean + shift + 0.5 * torch.randn(PIXELS, generator=torch.Generator().manual_seed(1)).double()
    found = estimated(PRIOR, weights, m)
    expected = float(exact.log_prob(m))
    assert found.log_evidence == pytest.approx(expected, abs=3 * found.error)
    assert found.error < 2.0
    assert found.log_evidence == pytest.approx(found.log_likelihood - found.divergence)
    assert found.per_value == pytest.approx(found.log_evidence / PIXELS)


def test_it_prefers_the_prior_that_made_the_mixture() -> None:
    wide = replace(PRIOR, cov=9 * PRIOR.cov)
    for maker, other in ((PRIOR, wide), (wide, PRIOR)):
        m = density(maker, (1.0, 1.0)).mean
        m = m + (density(maker, (1.0, 1.0)).covariance_matrix.diagonal().sqrt())
        differences = [float(density(p, (1.0, 1.0)).log_prob(m)) for p in (maker, other)]
        values = [estimated(p, (1.0, 1.0), m).log_evidence for p in (maker, other)]
        assert values[0] - values[1] == pytest.approx(differences[0] - differences[1], abs=0.6)


def test_without_the_covariance_it_is_biased() -> None:
    m = density(PRIOR, (1.0, 1.0)).mean + 2.0
    exact = float(density(PRIOR, (1.0, 1.0)).log_prob(m))
    assert abs(estimated(PRIOR, (1.0, 1.0), m, products=0).log_evidence - exact) > 1.0


def test_a_mixture_without_noise_has_none() -> None:
    for wrong in ({"sigma_y": 0.0}, {"samples": 1}, {"sigma_max": 0.05}):
        given = {"sigma_y": 0.1, "sigma_max": 5.0, "samples": 4, **wrong}
        with pytest.raises(UsageError):
            evidence(PRIOR, (1.0, 1.0), torch.zeros(1, PIXELS), **given)  # type: ignore[arg-type]
