"""Glow: its density and score, noise levels, ladder, drawing, training, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sepcli.errors import InputError, PriorError
from sepcli.priors.images.flow import (
    STEP,
    FlowPrior,
    bits_per_dim,
    context_of,
    negative_log_likelihood,
    noise_at,
    noisy,
)
from sepcli.priors.images.glow import GlowConfig, glow_prior
from sepcli.priors.images.independent import ClassPrior
from sepcli.priors.images.train import fitting_scales
from sepcli.separation.independent import IndependentDensities, IndependentPriors

TINY = GlowConfig(size=(8, 8), steps=2, width=4, embedding=6)


def prior(config: GlowConfig = TINY, shaken: float = 0.0) -> FlowPrior:
    """A flow as it begins, or with all parameters moved."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = glow_prior(config)
        for parameter in made.parameters():
            parameter.data += shaken * torch.randn(parameter.shape)
    return made.eval().requires_grad_(False)


def image_set(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("affine", [True, False])
def test_it_begins_as_white_noise_about_the_middle(affine: bool) -> None:
    p, x = prior(replace(TINY, affine=affine)), image_set(2, 3, 1, 8, 8)
    white = (-0.5 * (x - 0.5) ** 2 - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)
    torch.testing.assert_close(p.log_prob(x), white)
    torch.testing.assert_close(p.score(x, torch.tensor(0.3)), 0.5 - x)


@pytest.mark.parametrize("size", [(8, 8), (4, 12)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_score_is_the_slope_of_the_density(size: tuple[int, int], channels: int) -> None:
    p = prior(replace(TINY, channels=channels), shaken=0.1).double()
    x, sigma = image_set(1, 2, channels, *size).double(), 0.2
    step = 1e-6 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double()
    rise = p.log_prob(x + step, sigma) - p.log_prob(x - step, sigma)
    score = p.score(x, torch.tensor(sigma))
    assert score.shape == x.shape
    assert float(rise) == pytest.approx(float((2 * step * score).sum()), rel=1e-3)


def test_an_item_does_not_depend_on_its_batch_or_on_how_it_is_asked() -> None:
    p, x, sigma = prior(shaken=0.1), image_set(3, 2, 1, 8, 8), torch.tensor(0.4)
    together = p.score(x, sigma)
    torch.testing.assert_close(p.score(x[1:2], sigma), together[1:2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(p.log_prob(x[1:2]), p.log_prob(x)[1:2])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(p.score(x.clone(), sigma), together)
    assert p.score(x.double(), sigma).dtype == torch.float64


def test_it_is_told_noise_and_class() -> None:
    p = prior(replace(TINY, classes=("0-4", "5-9")))
    for flow in p.flows:
        for parameter in flow.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    x, sigma = image_set(2, 2, 1, 8, 8), torch.tensor(0.4)
    assert not torch.allclose(p.log_prob(x, 0.4), p.log_prob(x, 0.1), atol=0.1)
    torch.testing.assert_close(p.log_prob(x, 1.0), p.log_prob(x, 3.0))
    low, high, either = p.score(x, sigma, 0), p.score(x, sigma, 1), p.score(x, sigma)
    assert not torch.allclose(low, high, atol=1e-3)
    assert not torch.allclose(low, either, atol=1e-3)
    joint = IndependentPriors((ClassPrior(p, 0, fast=True), ClassPrior(p, 1, fast=True)))
    torch.testing.assert_close(joint.score(x, sigma), torch.cat([low[:, :1], high[:, 1:]], dim=1))
    each = p.log_prob(x[:, :1], 0.4, 0) + p.log_prob(x[:, 1:], 0.4, 1)
    torch.testing.assert_close(
        IndependentDensities((ClassPrior(p, 0), ClassPrior(p, 1)), 0.4).log_prob(x), each
    )


def test_the_nearest_copy_of_a_ladder_answers() -> None:
    p, x = prior(replace(TINY, sigmas=(0.0, 0.01, 0.1, 1.0)), shaken=0.1), image_set(1, 1, 1, 8, 8)
    own = [prior(replace(TINY, sigmas=(sigma,))) for sigma in p.config.sigmas]
    for one, flow in zip(own, p.flows, strict=True):
        one.flows[0].load_state_dict(flow.state_dict())
    losses = []
    for sigma in (0.0, 0.001, 0.005, 0.01, 0.03, 0.04, 0.3, 0.4, 1.0, 9.0):
        here = torch.tensor(sigma)
        scores = [one.score(x, torch.tensor(s)) for one, s in zip(own, p.config.sigmas, strict=True)]
        scaled = [
            s * noise_at(torch.tensor(level)) / noise_at(here)
            for s, level in zip(scores, p.config.sigmas, strict=True)
        ]
        calls = p.score(x, here)
        alike = [bool(torch.allclose(calls, s, rtol=1e-3, atol=1e-4)) for s in scaled]
        assert alike.count(True) == 1
        losses.append(alike.index(True))
        torch.testing.assert_close(p.log_prob(x, sigma), own[losses[-1]].log_prob(x))
    assert losses == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]


def test_bits_per_dimension_of_known_densities() -> None:
    images = image_set(5, 1, 4, 4)
    torch.testing.assert_close(bits_per_dim(torch.zeros(5), images), torch.full((5,), math.log2(255)))
    bytes_alike = torch.full((5,), 16 * math.log(255 / 256))  # uniform over the 256 steps
    torch.testing.assert_close(bits_per_dim(bytes_alike, images), torch.full((5,), 8.0))


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_the_loss_is_the_cross_entropy_in_bits(sigma: float) -> None:
    p, images = prior(replace(TINY, sigmas=(sigma,))), image_set(400, 1, 8, 8)
    loss, figures = p.loss(images, np.random.default_rng(0))
    energy = float((images - 0.5).square().mean()) + sigma**2 + STEP**2 / 12
    nats = 0.5 * energy + 0.5 * math.log(2 * math.pi)
    assert float(loss) == pytest.approx(nats / math.log(2) + math.log2(255), rel=1e-3)
    assert figures["bits"] == float(loss)


def test_noise_and_levels_of_training() -> None:
    images, rng = torch.full((2000, 1, 2, 2), 0.5), np.random.default_rng(0)
    dequantised = noisy(images, torch.zeros(2000), rng) - images
    assert 0.49 * STEP < float(dequantised.abs().max()) <= 0.5 * STEP
    assert abs(float(dequantised.mean())) < 0.02 * STEP
    variance = (noisy(images, torch.full((2000,), 0.01), rng) - images).std()
    assert float(variance) == pytest.approx(float(noise_at(torch.tensor(0.01))), rel=0.03)
    levels = prior(replace(TINY, clean=0.2)).training_sigmas(1000, 0, rng)
    assert int((levels == 0.0).sum()) in (200, 201)
    noise = levels[levels > 0.0].log10().sort().values
    torch.testing.assert_close(noise, torch.linspace(-2.0, 0.0, len(noise)), atol=0.01, rtol=0)


def test_classes_are_withheld() -> None:
    images, zeros = image_set(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64)
    for share, same in ((1.0, True), (0.0, False)):
        p = prior(replace(TINY, classes=("0-4", "5-9"), class_dropout=share), shaken=0.1)
        first, _ = p.loss(images, np.random.default_rng(0), zeros)
        second, _ = p.loss(images, np.random.default_rng(0), zeros + 1)
        assert torch.equal(first, second) is same


def test_drawn_images_have_the_density_s_latents() -> None:
    p, rng = prior(shaken=0.1), torch.Generator().manual_seed(0)
    samples = p.sample(300, rng, sigma=0.1)
    assert samples.shape == (300, 1, 8, 8)
    context = context_of(p.flows[0], p.flows[0].label, torch.full((300,), 0.1), None)
    latents = torch.cat([z.flatten() for z in p.flows[0].layers(samples - 0.5, context)[0]])
    assert float(latents.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(latents.std()) == pytest.approx(1.0, abs=0.02)
    cold = p.sample(3, rng, temperature=0.0)
    torch.testing.assert_close(cold, cold[:1].expand_as(cold), atol=1e-4, rtol=0)


def test_it_begins_where_the_data_are() -> None:
    images = 0.8 + 0.05 * image_set(64, 1, 8, 8)
    p = prior()
    before, _ = p.loss(images, np.random.default_rng(1))
    p.initialize(images, np.random.default_rng(0))
    after, _ = p.loss(images, np.random.default_rng(1))
    assert float(after) < float(before) - 0.5


def test_it_learns_and_more_noise_takes_more_bits() -> None:
    p = prior(replace(TINY, scales=1, width=8))
    images = torch.linspace(0.2, 0.8, 64).view(1, 1, 8, 8).expand(32, 1, 8, 8)
    p.initialize(images, np.random.default_rng(0))
    p.train().requires_grad_(True)
    optimizer, losses = torch.optim.Adam(p.parameters(), 1e-2), []
    for step in range(40):
        loss, _ = p.loss(images, np.random.default_rng(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.7
    sigmas = (0.01, 0.03, 0.1, 0.3, 1.0)
    bits = [float(negative_log_likelihood(p, images, sigma=s).mean()) for s in sigmas]
    assert bits == sorted(bits)
    for value, sigma in zip(bits, sigmas, strict=True):  # nothing is known better than its noise allows
        assert value > 0.5 * math.log2(2 * math.pi * math.e * sigma**2) + math.log2(255) - 0.05


def test_likelihoods_do_not_depend_on_the_batch() -> None:
    p, images = prior(shaken=0.1), image_set(5, 1, 8, 8)
    value = negative_log_likelihood(p, images)
    torch.testing.assert_close(negative_log_likelihood(p, images, batch=2), value)
    assert not torch.allclose(negative_log_likelihood(p, images, seed=1), value, atol=1e-6)


def test_scales_follow_the_size() -> None:
    sizes = {(28, 28): 2, (32, 32): 3, (64, 64): 4, (256, 256): 4, (8, 8): 1, (10, 64): 1, (48, 64): 3}
    assert {size: fitting_scales(*size) for size in sizes} == sizes
    for size in ((27, 28), (4, 64)):
        with pytest.raises(InputError, match=rf"{size[0]}.*{size[1]}"):
            fitting_scales(*size)


def test_what_cannot_be_used_is_refused() -> None:
    p, sigma = prior(), torch.tensor(0.5)
    with pytest.raises(InputError, match=r"\(3, 8, 8\)"):
        p.score(image_set(1, 2, 3, 8, 8), sigma)
    with pytest.raises(InputError, match=r"\b8\b.*\b10\b"):
        p.score(image_set(1, 2, 1, 8, 10), sigma)
    with pytest.raises(InputError, match=r"\b9\b.*\b8\b"):
        p.log_prob(image_set(1, 2, 1, 9, 8))
    with pytest.raises(PriorError, match="variance"):
        p.moments(image_set(1, 2, 1, 8, 8), sigma)
