"""A prior of color images seen as one of three sources; hints as a likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from exact_priors import GaussianFields, GaussianPixels
from torch import Tensor

from sepcli.posterior.dirac import DiracPosterior
from sepcli.priors.images.denoiser import DenoiserConfig, DenoiserPrior
from sepcli.priors.images.independent import ClassPrior
from sepcli.samplers.projected import Projected
from sepcli.separation.colorize import ChannelsAsSources, HintedPrior
from sepcli.signal.mixing import WeightedSum


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_channels_are_sources() -> None:
    torch.manual_seed(0)
    network = DenoiserPrior(DenoiserConfig(channels=3, size=(8, 8), widths=(8, 8), blocks=1, embedding=8))
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    one = ClassPrior(network.requires_grad_(False))
    x, sigma = random(2, 3, 1, 8, 6).float(), torch.tensor(0.5)
    seen = ChannelsAsSources(one)
    assert torch.equal(seen.score(x, sigma)[:, :, 0], one.score(x[:, None, :, 0], sigma)[:, 0])
    for found, own in zip(seen.moments(x, sigma), one.moments(x[:, None, :, 0], sigma), strict=True):
        assert torch.equal(found[:, :, 0], own[:, 0])


@dataclass(frozen=True)
class ScoreOnly:
    """A prior without a posterior variance."""

    prior: Any
    has_variance = False

    def score(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return self.prior.score(x, sigma)  # type: ignore[no-any-return]


@pytest.mark.parametrize("sigma", [0.05, 0.7, 20.0])
def test_a_hint_is_a_likelihood(sigma: float) -> None:
    """Gaussian pixels and Gaussian hints have a Gaussian product, whose score and moments are known."""
    mean, var = [0.2, 0.5, 0.7], [0.05, 0.1, 0.02]
    target, precision = random(3, 1, 4), torch.tensor([0.0, 3.0, 100.0, 1e6], dtype=torch.float64)
    hinted = HintedPrior(GaussianPixels(mean, var), target, precision)
    v, mu = (torch.tensor(t, dtype=torch.float64).view(3, 1, 1) for t in (var, mean))
    both = 1 / (1 / v + precision)
    centre = both * (mu / v + precision * target)
    x, level = random(2, 3, 1, 4, seed=1), torch.tensor(sigma, dtype=torch.float64)
    assert torch.allclose(hinted.score(x, level), (centre - x) / (both + level**2))
    found, spread = hinted.moments(x, level)
    assert torch.allclose(spread, (both * level**2 / (both + level**2)).expand_as(x))
    assert torch.allclose(found, x + level**2 * hinted.score(x, level))


def test_where_nothing_is_known_the_score_is_the_prior_s_and_a_flat_prior_yields() -> None:
    prior, x, sigma = GaussianPixels([0, 0.5], [1, 2]), random(1, 2, 1, 3), torch.tensor(0.3).double()
    target, precision = random(2, 1, 3, seed=1), torch.tensor([0.0, 0.0, 1e9], dtype=torch.float64)
    score = HintedPrior(ScoreOnly(prior), target, precision).score(x, sigma)
    own = prior.score(x, sigma)
    assert torch.allclose(score[..., :2], own[..., :2])
    assert torch.allclose(score[..., 2], ((target - x) / sigma**2)[..., 2], rtol=1e-6)


@pytest.mark.parametrize(("sure", "eta"), [(True, 1.0), (False, 1.0), (True, None), (False, None)])
def test_draws_keep_to_a_hint_and_its_neighbors_follow(sure: bool, eta: float | None) -> None:
    """Pixels that vary together: what is known of one is known of the other, on the constraint."""
    cov = 0.1 * torch.tensor([[1.0, 0.95], [0.95, 1.0]], dtype=torch.float64)

    class Fields(GaussianFields):
        def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            noisy = self.cov + sigma**2 * torch.eye(2, dtype=x.dtype)
            spread = self.cov - self.cov @ torch.linalg.solve(noisy, self.cov)
            return x + sigma**2 * self.score(x, sigma), spread.diagonal(dim1=-2, dim2=-1)[:, None].expand_as(
                x
            )

    prior = Fields(torch.full((3, 2), 0.5, dtype=torch.float64), cov.expand(3, 2, 2))
    target = torch.tensor([0.7, 0.5, 0.3], dtype=torch.float64).view(3, 1, 1).expand(3, 1, 2)
    precision = torch.tensor([400.0, 0.0], dtype=torch.float64)
    weights = (1 / 3,) * 3
    gray = torch.full((400, 1, 2), 0.5, dtype=torch.float64)
    sampler = Projected(steps=60, sigma_max=20.0, rho=7.0, eta=eta)
    middle = []
    for known in (prior, HintedPrior(prior if sure else ScoreOnly(prior), target, precision)):
        posterior = DiracPosterior(known, WeightedSum(weights), gray)
        drawn = posterior.sources(sampler(posterior, torch.arange(400)))
        assert torch.allclose(WeightedSum(weights)(drawn), gray)
        middle.append(drawn.mean(0)[:, 0])
    assert (middle[0] - 0.5).abs().max() < 0.05
    assert (middle[1][:, 0] - target[:, 0, 0]).abs().max() < 0.05
    assert (middle[1][:, 1] - target[:, 0, 0]).abs().max() < 0.1
