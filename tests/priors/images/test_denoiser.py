"""The denoiser: preconditioning, shapes, units, its score and its training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sepcli.errors import InputError, PriorError
from sepcli.priors.images.denoiser import DenoiserConfig, DenoiserPrior, Norm
from sepcli.priors.images.independent import ClassPrior
from sepcli.separation.independent import IndependentPriors

TINY = DenoiserConfig(widths=(8, 12), blocks=1, embedding=16, data_mean=0.2, data_std=0.3)


def prior(config: DenoiserConfig = TINY, stir: bool = True) -> DenoiserPrior:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = DenoiserPrior(config).eval()
        if stir:  # the last layers begin at zero
            for p in made.parameters():
                p.data += 0.05 * torch.randn_like(p)
    return made


def image_set(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_untrained_it_is_wiener_s_filter() -> None:
    x, sigma = image_set(2, 3, 1, 8, 8), torch.tensor(0.5)
    mean, variance = prior(stir=False).moments(x, sigma)
    share = 0.3**2 / (0.5**2 + 0.3**2)
    assert torch.allclose(mean, 0.2 + share * (x - 0.2), atol=1e-6)
    assert torch.allclose(variance, torch.full_like(x, share * 0.5**2), atol=1e-6)


def test_score_is_the_denoiser_s() -> None:
    p, x, sigma = prior(), image_set(2, 3, 1, 8, 8), torch.tensor(0.4)
    mean, _ = p.denoise(x.flatten(0, 1), sigma.expand(6))
    assert torch.allclose(p.score(x, sigma), (mean.view_as(x) - x) / sigma**2, atol=1e-6)
    assert torch.equal(p.moments(x, sigma)[0], mean.view_as(x))
    assert torch.isfinite(p.score(x, torch.tensor(1e-4))).all()


@pytest.mark.parametrize("size", [(28, 28), (5, 9), (1, 1), (32, 20)])
@pytest.mark.parametrize(
    "config", [TINY, replace(TINY, channels=3, fold=1, widths=(8, 12, 16), attention=2, variance=False)]
)
def test_any_size_and_channels(size: tuple[int, int], config: DenoiserConfig) -> None:
    x = image_set(1, 2, config.channels, *size)
    assert prior(config).score(x, torch.tensor(0.3)).shape == x.shape


def test_an_item_does_not_depend_on_its_batch_or_place() -> None:
    p, x, sigma = prior(), image_set(3, 2, 1, 12, 12), torch.tensor(0.4)
    together = p.score(x, sigma)
    assert torch.allclose(p.score(x[1:2], sigma), together[1:2], atol=1e-4)
    assert torch.allclose(p.score(x.flip(1), sigma), together.flip(1), atol=1e-4)


def test_classes_differ_and_can_be_one_per_source() -> None:
    p = prior(replace(TINY, classes=("0-4", "5-9")))
    x, sigma = image_set(2, 3, 1, 8, 8), torch.tensor(0.4)
    first, second = p.score(x, sigma, 0), p.score(x, sigma, 1)
    assert not torch.allclose(first, second, atol=1e-3)
    low, high = ClassPrior(p, 0), ClassPrior(p, 1)
    joint = IndependentPriors((low, low, high))
    expected = torch.cat([first[:, :2], second[:, 2:]], dim=1)
    assert torch.allclose(joint.score(x, sigma), expected, atol=1e-4)
    mean, variance = joint.moments(x, sigma)
    assert torch.allclose((mean - x) / sigma**2, expected, atol=1e-4)
    assert variance.shape == x.shape


def test_the_loss_is_that_of_the_preconditioned_target() -> None:
    config = replace(TINY, variance=False)
    images = image_set(64, 1, 8, 8)
    loss, figures = prior(config, stir=False).loss(images, np.random.default_rng(0))
    assert figures == {"mse": pytest.approx(float(loss.detach()))}
    again, _ = prior(config, stir=False).loss(images, np.random.default_rng(0))
    assert torch.equal(loss, again)
    # F = 0 is optimal for white Gaussian data of that mean and standard deviation
    white = 0.2 + 0.3 * torch.randn(256, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    actual, _ = prior(config, stir=False).loss(white, np.random.default_rng(0))
    assert float(actual.detach()) == pytest.approx(1.0, rel=0.03)


def test_it_learns_a_constant_image_and_how_sure_it_is() -> None:
    p, images = prior(stir=False).train(), torch.full((32, 1, 8, 8), 0.9)
    optimizer = torch.optim.Adam(p.parameters(), 3e-3)
    losses = []
    for step in range(60):
        loss, figures = p.loss(images, np.random.default_rng(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(figures["mse"])
    assert np.mean(losses[-10:]) < 0.4 * np.mean(losses[:10])
    noisy = images[:, None] + 0.3 * torch.randn(32, 1, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    mean, variance = p.eval().moments(noisy, torch.tensor(0.3))
    assert (mean - 0.9).square().mean() < 0.04  # 0.145 before
    assert variance.mean() < 0.045  # what an untrained one says


def test_norms_are_computed_in_float32_under_autocast() -> None:
    x = torch.randn(2, 8, 4, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Norm(8)(x), Norm(8)(x.float()).bfloat16())
        score = prior().score(image_set(1, 2, 1, 8, 8), torch.tensor(0.5))
    assert score.dtype == torch.float32


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(3, 8, 8\)"):
        prior().score(image_set(1, 2, 3, 8, 8), torch.tensor(0.5))
    with pytest.raises(PriorError, match="variance"):
        prior(replace(TINY, variance=False)).moments(image_set(1, 2, 1, 8, 8), torch.tensor(0.5))
