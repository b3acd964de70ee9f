"""Laws of score priors: shapes, batches, and the score as the gradient of a log density."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.spectral_net import SpectralConfig
from sepcli.priors.audio.wave_flow import PRESETS, WaveFlow, WaveFlowConfig
from sepcli.priors.images.denoiser import DenoiserConfig, DenoiserPrior
from sepcli.priors.images.glow import GlowConfig, glow_prior
from sepcli.priors.images.image_tarflow import TarFlowConfig, tarflow_prior
from sepcli.priors.images.ncsn import NcsnConfig, NcsnPrior

Made = tuple[Any, tuple[int, ...]]


def shaken(network: torch.nn.Module) -> Any:
    """The network with weights that are not those of its beginning, where many priors are trivial."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    return network.requires_grad_(False).eval()


def denoiser() -> Made:
    return shaken(DenoiserPrior(DenoiserConfig(size=(8, 8), widths=(8, 8), blocks=1, embedding=8))), (1, 8, 8)


def ncsn() -> Made:
    return shaken(NcsnPrior(NcsnConfig(size=(8, 8), width=4))), (1, 8, 8)


def glow() -> Made:
    return shaken(glow_prior(GlowConfig(size=(8, 8), scales=1, steps=2, width=4, embedding=4))), (1, 8, 8)


def tarflow() -> Made:
    config = TarFlowConfig(size=(8, 8), width=8, depths=(1, 1), heads=2, embedding=4)
    return shaken(tarflow_prior(config)), (1, 8, 8)


def patches() -> Made:
    flow = WaveFlow(WaveFlowConfig(variant="tarflow", **PRESETS["tarflow"]["tiny"]))
    return shaken(flow), (1, 4 * flow.config.factor)


def mdct() -> Made:
    config = SpectralConfig(bins=16, width=16, blocks=1, embedding=8, band_std=(0.1,) * 16)
    return shaken(SpectralPrior(config)), (1, 16, 12)


def wave() -> Made:
    flow = WaveFlow(WaveFlowConfig(variant="waveglow", **PRESETS["waveglow"]["tiny"]))
    return shaken(flow), (1, 4 * flow.config.factor)


PRIORS: dict[str, Callable[[], Made]] = {
    "denoiser": denoiser, "ncsn": ncsn, "glow": glow, "mdct": mdct, "wave": wave,
    "tarflow": tarflow, "wave tarflow": patches,
}  # fmt: skip
DENSITIES = ("glow", "wave", "tarflow", "wave tarflow")


def signals(shape: tuple[int, ...]) -> torch.Tensor:
    return 0.3 * torch.randn((3, 2, *shape), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", PRIORS)
def test_a_score_has_the_shape_of_its_signals_and_is_independent_of_the_batch(name: str) -> None:
    torch.manual_seed(0)
    prior, shape = PRIORS[name]()
    x, sigma = signals(shape), torch.tensor(0.2)
    together = prior.score(x, sigma)
    assert together.shape == x.shape
    assert bool(together.isfinite().all())
    torch.testing.assert_close(prior.score(x[1:2, 1:], sigma), together[1:2, 1:], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", PRIORS)
def test_moments_are_there_if_the_prior_says_so(name: str) -> None:
    torch.manual_seed(0)
    prior, shape = PRIORS[name]()
    x, sigma = signals(shape), torch.tensor(0.2)
    if not prior.has_variance:
        return
    mean, variance = prior.moments(x, sigma)
    assert bool((variance > 0).all())
    torch.testing.assert_close((mean - x) / sigma**2, prior.score(x, sigma), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", DENSITIES)
def test_the_score_of_a_density_is_its_gradient(name: str) -> None:
    torch.manual_seed(0)
    prior, shape = PRIORS[name]()
    x = signals(shape)[:, :1].requires_grad_()
    (expected,) = torch.autograd.grad(prior.log_prob(x, 0.2).sum(), x)
    torch.testing.assert_close(prior.score(x.detach(), torch.tensor(0.2)), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", DENSITIES)
def test_the_score_of_a_density_has_a_symmetric_jacobian(name: str) -> None:
    prior, shape = PRIORS[name]()
    x, sigma = signals(shape)[:1, :1].double().requires_grad_(), torch.tensor(0.3)
    score = prior.double().score(x, sigma)
    a, b = (torch.randn(x.shape, generator=torch.Generator().manual_seed(n)).double() for n in (2, 3))
    left, right = (torch.autograd.grad(score, x, each, retain_graph=True)[0] for each in (a, b))
    assert float((left * b).sum()) == pytest.approx(float((right * a).sum()), rel=1e-6)
    assert float((left * b).sum()) != 0.0
