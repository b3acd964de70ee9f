"""Laws of score priors: shapes, independence of the batch, and what ``has_variance`` promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sepcli.errors import PriorError
from sepcli.priors.audio.gaussian_bands import GaussianBands
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.spectral_net import SpectralConfig
from sepcli.priors.audio.wave_flow import PRESETS, WaveFlow, WaveFlowConfig
from sepcli.priors.images.denoiser import DenoiserConfig, DenoiserPrior
from sepcli.priors.images.diffusers import DiffusionUnetConfig, DiffusionUnetPrior
from sepcli.priors.images.glow import GlowConfig, glow_prior
from sepcli.priors.images.image_tarflow import TarFlowConfig, tarflow_prior
from sepcli.priors.images.ncsn import NcsnConfig, NcsnPrior

IMAGE, BANDS, WAVE = (3, 2, 1, 8, 8), (3, 2, 1, 16, 6), (3, 2, 1, 64)
DENOISER = {"widths": (4, 8), "blocks": 1, "embedding": 8, "size": (8, 8)}
SPECTRAL = {"bins": 16, "width": 8, "blocks": 1, "dilations": (1,), "embedding": 8}


class Identity(nn.Module):
    """A U-Net of the Diffusers library that predicts its input."""

    def forward(self, x: Tensor, time: Tensor, class_labels: Tensor | None = None) -> Any:
        return type("Output", (), {"sample": x})()


def diffusion() -> DiffusionUnetPrior:
    return DiffusionUnetPrior(DiffusionUnetConfig(1, (8, 8), (0.1, 1.0, 10.0)), Identity())


def flow() -> WaveFlow:
    return WaveFlow(WaveFlowConfig(**PRESETS["waveglow"]["tiny"]))


PRIORS: Mapping[str, tuple[Callable[[], Any], tuple[int, ...], bool]] = {
    "denoiser": (lambda: DenoiserPrior(DenoiserConfig(**DENOISER)), IMAGE, True),  # type: ignore[arg-type]
    "denoiser without variance": (
        lambda: DenoiserPrior(DenoiserConfig(**DENOISER, variance=False)),  # type: ignore[arg-type]
        IMAGE,
        False,
    ),
    "ncsn": (lambda: NcsnPrior(NcsnConfig(width=4, levels=3)), IMAGE, False),
    "diffusers": (diffusion, IMAGE, False),
    "glow": (lambda: glow_prior(GlowConfig(size=(8, 8), scales=1, steps=1, width=4)), IMAGE, False),
    "tarflow": (
        lambda: tarflow_prior(TarFlowConfig(size=(8, 8), width=8, depths=(1, 1), heads=2)),
        IMAGE,
        False,
    ),
    "mdct denoiser": (lambda: SpectralPrior(SpectralConfig(**SPECTRAL)), BANDS, True),  # type: ignore[arg-type]
    "mdct denoiser without variance": (
        lambda: SpectralPrior(SpectralConfig(**SPECTRAL, variance=False)),  # type: ignore[arg-type]
        BANDS,
        False,
    ),
    "waveform flow": (flow, WAVE, False),
    "gaussian bands": (lambda: GaussianBands(torch.full((1, 16, 1), 0.5)), BANDS, True),
}


def prior(name: str) -> tuple[Any, Tensor, Tensor]:
    """A prior of small random weights, inputs and a noise level."""
    make, shape, _ = PRIORS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = make()
        if isinstance(made, nn.Module):
            made = made.requires_grad_(False).eval()
            for parameter in made.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
        return made, torch.rand(shape), torch.tensor(0.3)


@pytest.mark.parametrize("name", PRIORS)
def test_scores_have_the_shape_of_their_input_and_do_not_depend_on_the_batch(name: str) -> None:
    made, x, sigma = prior(name)
    score = made.score(x, sigma)
    assert score.shape == x.shape
    assert bool(score.isfinite().all())
    torch.testing.assert_close(made.score(x[1:2], sigma), score[1:2], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", PRIORS)
def test_moments_are_available_exactly_with_a_variance(name: str) -> None:
    made, x, sigma = prior(name)
    assert made.has_variance is PRIORS[name][2]
    if not made.has_variance:
        with pytest.raises(PriorError):
            made.moments(x, sigma)
        return
    mean, variance = made.moments(x, sigma)
    assert mean.shape == variance.shape == x.shape
    assert bool((variance > 0).all())
    torch.testing.assert_close(mean, x + sigma**2 * made.score(x, sigma), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["ncsn", "diffusers", "glow", "tarflow", "waveform flow"])
def test_the_range_of_noise_levels_is_in_order(name: str) -> None:
    made = prior(name)[0]
    assert 0.0 <= made.sigma_min < made.sigma_max


def test_noise_levels_of_diffusion_models_are_in_the_units_of_images_in_0_1() -> None:
    assert (diffusion().sigma_min, diffusion().sigma_max) == (0.05, 5.0)
