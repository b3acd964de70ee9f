"""Prior times Gaussian likelihood: its score is the gradient of the log joint."""

from __future__ import annotations

import re

import pytest
import torch
from exact_priors import GaussianFields, GaussianPixels, MixturePixels
from torch import Tensor

from sepcli.errors import InputError, UsageError
from sepcli.posterior.gaussian import WIDTHS, GaussianPosterior
from sepcli.signal.mixing import WeightedSum

WEIGHTS = (0.5, 1.0, 2.0)
PRIORS = [
    GaussianPixels((0.1, 0.5, -0.3), (0.2, 1.0, 0.05)),
    GaussianFields.random(3, 8),
    MixturePixels(
        torch.tensor([[0.3, 0.7], [0.5, 0.5], [0.9, 0.1]]),
        torch.tensor([[0.0, 1.0], [-1.0, 0.2], [0.5, 0.6]]),
        torch.tensor([[0.1, 0.2], [0.3, 0.1], [0.05, 1.0]]),
    ),
]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("prior", PRIORS, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
def test_score_is_the_gradient_of_the_log_joint(prior: MixturePixels, width: float) -> None:
    mixture, sigma = random(2, 1, 2, 4), torch.tensor(0.3, dtype=torch.float64)
    x = random(2, 3, 1, 2, 4, seed=1).requires_grad_()
    posterior = GaussianPosterior(prior, WeightedSum(WEIGHTS), mixture, 3, width)
    residual = mixture - WeightedSum(WEIGHTS)(x)
    joint = prior.log_prob(x, sigma).sum() - residual.square().sum() / (2 * width * sigma**2)
    (expected,) = torch.autograd.grad(joint, x)
    assert torch.allclose(posterior.score(x.detach(), sigma), expected, atol=1e-10)
    assert posterior.like.shape == x.shape
    assert posterior.sources(x) is x


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, -2.0, 0.0), (1.0, 2.0, 3.0, 4.0)])
def test_adjoint(weights: tuple[float, ...]) -> None:
    mixing = WeightedSum(weights)
    x, r = random(3, len(weights), 2, 5), random(3, 2, 5, seed=1)
    forward, back = (mixing(x) * r).flatten(1).sum(1), (x * mixing.adjoint(r)).flatten(1).sum(1)
    assert torch.allclose(forward, back)


def test_what_cannot_be_used_is_refused() -> None:
    mixing = WeightedSum((1.0, 1.0))
    with pytest.raises(UsageError, match="width"):
        GaussianPosterior(PRIORS[0], mixing, random(1, 1, 4), 2, width=0.0)
    for bad in (random(0, 1, 4), torch.full((1, 1, 4), torch.nan)):
        with pytest.raises(InputError, match=re.escape(str(tuple(bad.shape)))):
            GaussianPosterior(PRIORS[0], mixing, bad, 2)
