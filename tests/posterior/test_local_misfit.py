"""Misfits of every frame: the exact evidence of a Gaussian prior, its box, and what must not change."""

from __future__ import annotations

import pytest
import torch
from exact_priors import GaussianPixels
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from sepcli.errors import UsageError
from sepcli.posterior.dirac import DiracPosterior
from sepcli.signal.mixing import WeightedSum

WEIGHTS, MEANS, VARIANCES = (0.5, 1.0, 2.0), (0.1, -0.3, 0.2), (0.2, 1.0, 0.05)
PRIOR = GaussianPixels(MEANS, VARIANCES)
BANDS, FRAMES = 4, 7


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(local: int, **options: object) -> DiracPosterior:
    given = {"moments": PRIOR.moments, "isotropic": True, **options}
    mixture = random(2, 1, BANDS, FRAMES)
    return DiracPosterior(PRIOR, WeightedSum(WEIGHTS), mixture, local=local, **given)  # type: ignore[arg-type]


def boxes(values: Tensor, near: int) -> Tensor:
    """Means over a box of (B, F), frame by frame."""
    frames = values.shape[-1]
    rows = [values[:, max(0, f - near) : f + near + 1].mean(1) for f in range(frames)]
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize("local", [1, 3, 1000])
@pytest.mark.parametrize("sigma_y", [0.0, 0.3])
def test_it_is_the_exact_evidence_of_independent_gaussians(local: int, sigma_y: float) -> None:
    sigma = torch.tensor(0.4, dtype=torch.float64)
    posterior = made(local, sigma_y=sigma_y)
    x = random(*posterior.like.shape, seed=1)
    _, actual = posterior.assess(x, sigma)
    a, mu, v = (torch.tensor(values, dtype=torch.float64) for values in (WEIGHTS, MEANS, VARIANCES))
    noisy = (v + sigma**2).diag()
    shared, own = (a * v)[:, None], ((a**2 * v).sum() + sigma_y**2).view(1, 1)
    joint = torch.cat([torch.cat([noisy, shared], dim=1), torch.cat([shared.T, own], dim=1)])
    mixture = random(2, 1, BANDS, FRAMES)
    cells = torch.cat([x, mixture[:, None]], dim=1).movedim(1, -1)
    both = MultivariateNormal(torch.cat([mu, (a @ mu)[None]]), joint).log_prob(cells)
    evidence = both - MultivariateNormal(mu, noisy).log_prob(cells[..., :3])
    expected = boxes(-2 * evidence.sum((1, 2)), local) - BANDS * torch.log(torch.tensor(2 * torch.pi))
    assert actual.shape == (2, FRAMES)
    assert torch.allclose(actual, expected, atol=1e-10)


def test_sources_alike_are_judged_by_the_spread_of_what_is_fully_correlated() -> None:
    mean, variance = random(2, 3, 1, BANDS, FRAMES, seed=2), random(2, 3, 1, BANDS, FRAMES, seed=3).square()
    posterior = made(1, alike=True, moments=lambda x, sigma: (mean, variance))
    _, actual = posterior.assess(mean, torch.tensor(0.4, dtype=torch.float64))
    mixing, mixture = WeightedSum(WEIGHTS), random(2, 1, BANDS, FRAMES)
    evidence = Normal(mixing(mean), mixing(variance.sqrt())).log_prob(mixture).sum((1, 2))
    expected = boxes(-2 * evidence, 1) - BANDS * torch.log(torch.tensor(2 * torch.pi))
    assert torch.allclose(actual, expected, atol=1e-8)


def test_without_a_variance_it_ranks_as_the_distance_does() -> None:
    sigma, a = torch.tensor(0.4, dtype=torch.float64), torch.tensor(WEIGHTS)
    whole, local = made(0, moments=None), made(1000, moments=None)
    one, other = (random(*whole.like.shape, seed=seed) for seed in (1, 2))
    apart = whole.assess(one, sigma)[1] - whole.assess(other, sigma)[1]
    actual = local.assess(one, sigma)[1] - local.assess(other, sigma)[1]
    assert torch.allclose(actual, (apart / (a.square().sum() * FRAMES))[:, None].expand_as(actual))


def test_only_the_misfit_is_local() -> None:
    sigma = torch.tensor(0.4, dtype=torch.float64)
    x = random(*made(0).like.shape, seed=1)
    (score, whole), (same, local) = made(0).assess(x, sigma), made(2).assess(x, sigma)
    assert torch.equal(score, same)
    assert (whole.shape, local.shape) == ((2,), (2, FRAMES))


def test_sources_that_are_certain_are_still_compared() -> None:
    mean = random(2, 3, 1, BANDS, FRAMES, seed=2)
    posterior = made(1, moments=lambda x, sigma: (mean, torch.zeros_like(mean)))
    assert torch.isfinite(posterior.assess(mean, torch.tensor(0.4, dtype=torch.float64))[1]).all()


def test_a_negative_reach_is_refused() -> None:
    with pytest.raises(UsageError, match="local"):
        made(-1)
