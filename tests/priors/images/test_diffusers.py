"""A diffusion model's U-Net as a prior of images: closed forms, and the library's own scheduler steps."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sepcli.errors import InputError, PriorError
from sepcli.priors.images.diffusers import DiffusionUnetConfig, DiffusionUnetPrior
from sepcli.priors.images.independent import ClassPrior
from sepcli.separation.independent import IndependentPriors

MEAN, VARIANCE = 0.4, 0.05
"""Of the exact networks' images, whose pixels are Gaussian, in [0, 1] units."""
BETAS = np.linspace(1e-4, 2e-2, 1000)
LEVELS = tuple(np.sqrt(1 / np.cumprod(1 - BETAS) - 1).tolist())


class Exact(nn.Module):
    """A perfectly trained network of Gaussian images, which records its times."""

    def __init__(self, prediction: str, more: int = 0) -> None:
        super().__init__()
        self.prediction, self.more, self.times = prediction, more, torch.empty(0)

    def forward(self, x: Tensor, time: Tensor, class_labels: Tensor | None = None) -> SimpleNamespace:
        self.times = time
        time = time.double()[:, None, None, None]
        if self.prediction == "score":
            return SimpleNamespace(sample=(-(x - MEAN) / (VARIANCE + time**2)).float())
        mean, variance = 2 * MEAN - 1, 4 * VARIANCE
        log = torch.from_numpy(np.interp(time.numpy(), np.arange(1000), np.log(LEVELS)))
        s = log.exp()
        y = x * (1 + s**2).sqrt()
        clean = mean + variance / (variance + s**2) * (y - mean)
        noise = (y - clean) / s
        velocity = (noise - s * clean) / (1 + s**2).sqrt()
        answer = {"epsilon": noise, "sample": clean, "v_prediction": velocity}[self.prediction]
        rest = torch.full_like(answer, math.nan).repeat(1, self.more, 1, 1)
        return SimpleNamespace(sample=torch.cat([answer, rest], dim=1).float())


def exact(prediction: str, more: int = 0) -> DiffusionUnetPrior:
    levels = (0.01, 380.0) if prediction == "score" else LEVELS
    return DiffusionUnetPrior(
        DiffusionUnetConfig(3, (8, 8), levels, prediction, multiple=4), Exact(prediction, more)
    )


def images(sigma: float, *shape: int) -> Tensor:
    scatter = math.sqrt(VARIANCE + sigma**2)
    return MEAN + scatter * torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample", "score"])
@pytest.mark.parametrize("sigma", [0.011, LEVELS[37] / 2, 0.05, 0.3, 1.0, 2.0, 20.0, 75.0])
def test_an_exact_network_gives_the_score_at_and_between_levels(prediction: str, sigma: float) -> None:
    x = images(sigma, 2, 2, 3, 8, 8)
    expected = -(x - MEAN) / (VARIANCE + sigma**2)
    actual = exact(prediction).score(x, torch.tensor(sigma))
    # at a small σ a clean sample in float32 leaves few digits of the noise in it
    tolerance = 3e-4 * float(expected.std()) + (1e-6 / sigma**2 if prediction == "sample" else 0.0)
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=tolerance)


def test_timesteps_are_interpolated_in_the_logarithm_of_the_noise() -> None:
    prior = exact("epsilon")
    for whole in (0, 1, 500, 999):
        assert float(prior.timestep(torch.tensor(LEVELS[whole]))) == pytest.approx(whole, abs=0.02)
    between = math.sqrt(LEVELS[500] * LEVELS[501])
    assert float(prior.timestep(torch.tensor(between))) == pytest.approx(500.5, abs=0.02)
    actual = prior.timestep(torch.tensor(2 * 0.37, dtype=torch.float64))  # σ = 0.37 in [0, 1] units
    assert float(actual) == pytest.approx(np.interp(math.log(0.74), np.log(LEVELS), range(1000)), abs=0.02)


@pytest.mark.parametrize(
    ("prediction", "sigma", "level"),
    [("epsilon", 1e-3, 0.0), ("epsilon", 500.0, 999.0), ("score", 1e-3, 0.01), ("score", 500.0, 380.0)],
)
def test_beyond_its_levels_the_network_gets_the_last(prediction: str, sigma: float, level: float) -> None:
    prior, x = exact(prediction), images(sigma, 1, 2, 3, 8, 8)
    actual = prior.score(x, torch.tensor(sigma))
    assert prior.unet.times.tolist() == pytest.approx([level] * 2)
    if prediction == "score":
        expected = -(x - MEAN) / (VARIANCE + level**2) * (level / sigma)
        torch.testing.assert_close(actual, expected)


def test_of_more_channels_the_first_are_the_answer() -> None:
    x = images(0.3, 1, 1, 3, 8, 8)
    actual = exact("epsilon", more=1).score(x, torch.tensor(0.3))
    torch.testing.assert_close(actual, exact("epsilon").score(x, torch.tensor(0.3)))


def test_every_size_is_padded_inside() -> None:
    x = images(0.3, 1, 2, 3, 7, 9)
    actual = exact("epsilon").score(x, torch.tensor(0.3))
    torch.testing.assert_close(actual, -(x - MEAN) / (VARIANCE + 0.09), rtol=1e-3, atol=1e-3)


def test_what_it_cannot_do_is_refused() -> None:
    prior, sigma = exact("epsilon"), torch.tensor(0.3)
    with pytest.raises(InputError, match=r"\(1, 8, 8\)"):
        prior.score(torch.zeros(1, 2, 1, 8, 8), sigma)
    with pytest.raises(PriorError, match="variance"):
        prior.moments(torch.zeros(1, 2, 3, 8, 8), sigma)
    for wrong in ({"sigmas": (0.1,)}, {"sigmas": (0.2, 0.1)}, {"sigmas": (0.0, 1.0)}, {"prediction": "x"}):
        with pytest.raises(PriorError):
            DiffusionUnetPrior(replace(prior.config, **wrong), nn.Identity())


def test_two_networks_are_priors_of_two_sources() -> None:
    x = images(0.5, 1, 2, 3, 8, 8)
    joint = IndependentPriors(
        [ClassPrior(exact("epsilon"), fast=True), ClassPrior(exact("score"), fast=True)]
    )
    actual = joint.score(x, torch.tensor(0.5))
    torch.testing.assert_close(actual, -(x - MEAN) / (VARIANCE + 0.25), rtol=1e-3, atol=1e-3)
