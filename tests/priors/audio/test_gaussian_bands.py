"""Gaussian bands: their score and moments, what is fitted to a mixture, Wiener's filter from the sampler."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepcli.posterior.dirac import DiracPosterior
from sepcli.priors.audio.gaussian_bands import FLOOR, GaussianBands, fit_other
from sepcli.samplers.projected import Projected
from sepcli.separation.independent import IndependentPriors
from sepcli.signal.mixing import WeightedSum

SIGMA = torch.tensor(0.3)
STDS = torch.tensor([[0.5, 0.3, 0.05, 0.01], [0.01, 0.2, 0.2, 0.05], [0.2, 0.2, 0.1, 0.1]])
WEIGHTS = (1.0, 0.5, 2.0)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 4), (2, 3, 1), (1, 3, 1)])
def test_score_and_moments_are_those_of_the_density(shape: tuple[int, int, int]) -> None:
    variance = noise(*shape).square().double() + 0.01
    prior, x = GaussianBands(variance), noise(2, 1, 1, 3, 4, seed=1).double().requires_grad_()
    total = variance[:, None, None] + SIGMA**2
    log_density = (-x.square() / (2 * total) - total.log() / 2).sum()
    (gradient,) = torch.autograd.grad(log_density, x)
    score, (mean, scatter) = prior.score(x, SIGMA), prior.moments(x, SIGMA)
    torch.testing.assert_close(score, gradient)
    torch.testing.assert_close(mean, x + SIGMA**2 * score)
    (slope,) = torch.autograd.grad(score.sum(), x)
    torch.testing.assert_close(scatter, SIGMA**2 + SIGMA**4 * slope)  # Tweedie's second formula
    assert score.shape == mean.shape == scatter.shape == x.shape


@pytest.mark.parametrize(("bands", "frames"), [(1, 1), (6, 3), (64, 50)])
def test_a_mixture_of_one_power_has_that_share_everywhere(bands: int, frames: int) -> None:
    level = torch.tensor([0.5, 0.02])[:, None, None, None]
    actual = fit_other(level * noise(2, 1, bands, frames).sign(), 0.25, 9.0).variance
    torch.testing.assert_close(actual, 0.25 * level[:, 0].square().expand(2, bands, frames))


def test_the_rest_is_loud_where_and_when_the_mixture_is() -> None:
    mixture = torch.zeros(1, 1, 128, 41)
    mixture[0, 0, 60, 20] = 1.0
    actual = fit_other(mixture, 0.5, 9.0).variance[0]
    inputs = actual > FLOOR**2
    assert inputs.any(0).nonzero().flatten().tolist() == list(range(16, 25))  # nine frames
    touched = inputs.any(1).nonzero().flatten().tolist()
    assert 51 <= min(touched) < 60 < max(touched) <= 71  # a third of an octave around band 60, and no more
    assert float(actual[~inputs].max()) == pytest.approx(FLOOR**2)
    silence = fit_other(torch.zeros(1, 1, 8, 5), 0.5, 9.0).variance
    torch.testing.assert_close(silence, torch.full((1, 8, 5), FLOOR**2))


class Watched(DiracPosterior):
    """It notes how far the sources are from making the mixture, every time it is asked."""

    def __init__(self, prior: IndependentPriors, mixing: WeightedSum, mixture: Tensor) -> None:
        super().__init__(prior, mixing, mixture, moments=prior.moments)
        self.mixing, self.mixture, self.gaps = mixing, mixture, list[float]()

    def score(self, state: Tensor, sigma: Tensor) -> Tensor:
        sources = self.sources(state)
        residual = (self.mixing(sources) - self.mixture).abs().max() / sources.abs().max()
        self.gaps.append(float(residual))
        return super().score(state, sigma)


def draw(sampler: Projected, mixture: Tensor, stds: Tensor = STDS) -> tuple[Tensor, list[float]]:
    """Sources (K, M, N) of a mixture (M, N) with exact priors, and the gaps of ``Watched``."""
    prior = IndependentPriors([GaussianBands(row.square()[None, :, None]) for row in stds])
    posterior = Watched(prior, WeightedSum(WEIGHTS), mixture[None, None])
    actual = posterior.sources(sampler(posterior, torch.tensor([5])))
    return actual[0, :, 0], posterior.gaps


def sampler(eta: float | None) -> Projected:
    return Projected(steps=300, sigma_max=10.0, sigma_min=5e-4, rho=7.0, eta=eta)


@pytest.mark.parametrize(("eta", "share"), [(0.0, 1.0), (None, 1.0), (1.0, 0.5)])
def test_gaussian_sources_get_wieners_filter_and_its_spread(eta: float | None, share: float) -> None:
    """η = 1, the default, draws at temperature one half: the mean is right, the variance is half."""
    a, v = torch.tensor(WEIGHTS)[:, None], STDS.square()
    mixture = (a * v.sqrt()).square().sum(0).sqrt()[:, None] * noise(4, 6000)
    actual, gaps = draw(sampler(eta), mixture)
    gain = a * v / (a**2 * v).sum(0)
    left = actual - gain[..., None] * mixture
    scatter = v - (a * v).square() / (a**2 * v).sum(0)
    torch.testing.assert_close(left.var(-1), share * scatter, rtol=0.1, atol=2e-7)
    slope = (left * mixture).mean(-1) / mixture.square().mean(-1)
    assert float((slope * mixture.std(-1) / scatter.sqrt()).abs().max()) < 0.06
    assert float((left.mean(-1) / scatter.sqrt()).abs().max()) < 0.06
    assert len(gaps) == 300
    assert max(gaps) < 1e-5
    torch.testing.assert_close((a[..., None] * actual).sum(0), mixture, rtol=0, atol=1e-5)


def test_a_source_that_is_not_there_comes_out_as_quiet_as_wieners_filter_says() -> None:
    stds = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.01, 0.01, 0.01, 0.01], [0.2, 0.2, 0.2, 0.2]])
    a, v = torch.tensor(WEIGHTS)[:, None], stds.square()
    inputs = (a * v.sqrt())[[0, 2], :, None] * noise(2, 4, 6000)  # the second is silent
    mixture = inputs.sum(0)
    actual, _ = draw(sampler(None), mixture, stds)
    gain, scatter = a * v / (a**2 * v).sum(0), v - (a * v).square() / (a**2 * v).sum(0)
    expected = gain[1].square() * mixture.square().mean(-1) + scatter[1]
    torch.testing.assert_close(actual[1].square().mean(-1), expected, rtol=0.1, atol=0)
    assert float(actual[1].square().mean() / mixture.square().mean()) < 1e-3  # 30 dB below the mixture
