"""The error of denoising by a flow's score: its value for Gaussians, its least value, its gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sepcli.priors.audio.wave_flow import PRESETS, WaveFlow, WaveFlowConfig
from sepcli.priors.flows import DATA_STD, density_and_error
from sepcli.priors.images.glow import GlowConfig, glow_prior
from sepcli.priors.images.image_tarflow import TarFlowConfig, tarflow_prior


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(variance: Tensor) -> Callable[[Tensor], Tensor]:
    """log p of white noise of a variance."""
    return lambda y: (-0.5 * y.square() / variance - 0.5 * (2 * math.pi * variance).log()).flatten(1).sum(1)


@pytest.mark.parametrize("std", [0.1, 0.3, 2.0])
@torch.no_grad()
def test_the_error_of_the_true_density_is_that_of_the_best_linear_denoiser(std: float) -> None:
    clean, noise = DATA_STD * normal(40, 1, 500), std * normal(40, 1, 500, seed=1)
    stds = torch.full((40,), std).double()
    errors = [
        float(density_and_error(gaussian(factor * (stds[0] ** 2 + DATA_STD**2)), clean, noise, stds)[1])
        for factor in (0.8, 1.0, 1.25)
    ]
    assert errors[1] == pytest.approx(1.0, abs=0.03)
    assert errors[1] < min(errors[0], errors[2])


@torch.no_grad()
def test_density_and_score_are_those_of_the_flow_and_clean_signals_have_no_error() -> None:
    clean, noise, stds = normal(3, 4), normal(3, 4, seed=1), torch.tensor([0.0, 0.5, 1.0]).double()
    noise[0] = 0.0
    values, error = density_and_error(gaussian(torch.tensor(2.0)), clean, noise, stds)
    torch.testing.assert_close(values, gaussian(torch.tensor(2.0))(clean + noise))
    denoised = (clean + noise) * (1 - stds[:, None] ** 2 / 2)
    weights = torch.tensor([0.0, 1 / 0.25, 1.0]).double() + torch.tensor([0.0, 1.0, 1.0]) / DATA_STD**2
    torch.testing.assert_close(error, (weights[:, None] * (denoised - clean).square()).mean())
    assert float(density_and_error(gaussian(torch.tensor(2.0)), clean[:1], noise[:1], stds[:1])[1]) == 0.0


def glow() -> nn.Module:
    return glow_prior(GlowConfig(size=(8, 8), steps=1, width=4, embedding=6, denoising=0.7))


def tarflow() -> nn.Module:
    return tarflow_prior(
        TarFlowConfig(size=(8, 8), width=8, depths=(1, 1), heads=2, embedding=4, denoising=0.7)
    )


def wave(variant: str) -> nn.Module:
    return WaveFlow(WaveFlowConfig(variant=variant, denoising=0.7, **PRESETS[variant]["tiny"]))


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "glow": glow,
    "tarflow": tarflow,
    **{f"wave {name}": partial(wave, name) for name in ("waveglow", "spectral", "tarflow")},
}


def loss_of(network: nn.Module) -> tuple[Tensor, dict[str, float]]:
    """The loss of the same items with the same noise."""
    shape = (4, 32) if isinstance(network, WaveFlow) else (4, 1, 8, 8)
    signals = torch.rand(shape, generator=torch.Generator().manual_seed(2)).to(next(network.parameters()))
    loss: tuple[Tensor, dict[str, float]] = network.loss(signals, np.random.default_rng(0))
    return loss


@pytest.mark.parametrize("name", MAKERS)
def test_the_gradient_of_the_loss_is_its_slope(name: str) -> None:
    network = made(name).eval()
    loss, figures = loss_of(network)
    loss.backward()
    likelihood = figures["bits"] if "bits" in figures else figures["nats"]
    assert float(loss.detach()) == pytest.approx(likelihood + 0.7 * figures["denoising"], rel=1e-6)
    rng = torch.Generator().manual_seed(3)
    directions = {
        key: torch.randn(weight.shape, generator=rng, dtype=weight.dtype)
        for key, weight in network.named_parameters()
    }
    slope = sum(
        float((weight.grad * directions[key]).sum())
        for key, weight in network.named_parameters()
        if weight.grad is not None
    )
    values = []
    for step in (1e-5, -2e-5):
        for key, weight in network.named_parameters():
            weight.data += step * directions[key]
        with torch.no_grad():
            values.append(float(loss_of(network)[0]))
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(slope, rel=1e-4)


def made(name: str) -> nn.Module:
    """A flow with all parameters moved, float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = MAKERS[name]().double()
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape, dtype=torch.float64)
    return network
