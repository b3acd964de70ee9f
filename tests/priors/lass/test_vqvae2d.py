"""The codec of images: shapes, raster order, what a token sees, something learnt in a few steps."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from sepcli.priors.lass.vqvae2d import Vqvae2d, Vqvae2dConfig

CONFIG = Vqvae2dConfig(3, (8, 12), widths=(8, 16), layers=1, vocabulary=24, code_dim=4)


def codec(config: Vqvae2dConfig = CONFIG) -> Vqvae2d:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Vqvae2d(config)


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_papers_digits_have_seven_by_seven_tokens() -> None:
    config = Vqvae2dConfig()
    assert (config.size, config.patch, config.grid, config.tokens) == ((28, 28), 4, (7, 7), 49)
    assert config.vocabulary == 256


@pytest.mark.parametrize("size", [(8, 10), (9, 8), (0, 8), (8,), (8, 8, 8), (-4, 8)])
def test_sizes_of_broken_patches_are_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(str(size))):
        Vqvae2dConfig(size=size)


@torch.inference_mode()
@pytest.mark.parametrize("widths", [(8,), (8, 8), (4, 8, 8)])
def test_shapes(widths: tuple[int, ...]) -> None:
    config = Vqvae2dConfig(3, (8, 16), widths=widths, layers=1, vocabulary=24, code_dim=4)
    model, x = codec(config).eval(), images(2, 3, 8, 16)
    z = model.encode(x)
    assert z.shape == (2, config.tokens) == (2, 8 * 16 // 4 ** len(widths))
    assert model.latents(x).shape == (2, config.tokens, 4)
    decoded = model.decode(z)
    assert decoded.shape == x.shape
    assert 0 <= float(decoded.min()) <= float(decoded.max()) <= 1


@torch.inference_mode()
def test_tokens_run_row_by_row() -> None:
    model, x = codec(replace(CONFIG, widths=(8,), layers=0)).eval(), torch.zeros(1, 3, 8, 12)
    changed = x.clone()
    changed[..., 4, 0] = 1.0  # seen by the first token of the second row of six, and of the third
    moved = (model.latents(changed) - model.latents(x)).abs().sum(-1)[0]
    assert moved.nonzero().flatten().tolist() == [6, 12]


@torch.inference_mode()
def test_dense_codes_of_the_tokens_decode_alike() -> None:
    model = codec().eval()
    z = model.encode(images(2, 3, 8, 12))
    assert torch.equal(model.synthesise(model.quantizer.lookup(z)), model.decode(z))


def test_gradients_pass_the_quantiser_straight() -> None:
    model, x = codec().train(), images(4, 3, 8, 12)
    loss, _ = model.loss(x, torch.Generator().manual_seed(0))
    loss.backward()
    assert float(model.analysis[0].weight.grad.abs().sum()) > 0
    assert model.quantizer.codebook.grad is None


def test_weights_of_another_type_take_the_image_along() -> None:
    model = codec().eval()
    for parameter in model.parameters():  # the codebook, a buffer, stays float32
        parameter.data = parameter.data.to(torch.bfloat16)
    assert model.decode(model.encode(images(1, 3, 8, 12))).dtype == torch.float32


def test_a_few_steps_learn_four_images() -> None:
    model, rng = codec().train(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    x = images(4, 3, 2, 3).repeat_interleave(4, -1).repeat_interleave(4, -2)
    model.initialize(x)
    losses = []
    for _ in range(80):
        loss, figures = model.loss(x, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert figures["psnr"] > 17
    assert figures["perplexity"] > 4
    assert set(figures) == {"psnr", "commitment", "perplexity"}


@torch.inference_mode()
def test_it_begins_at_the_mean_of_the_data() -> None:
    model, x = codec(), 0.25 * images(16, 3, 8, 12)
    x[:, 1] += 0.5
    assert model.latents(x).mean((0, 1)).abs().max() > 0.05
    before = model.decode(model.encode(x)).mean((0, 2, 3)) - x.mean((0, 2, 3))
    model.initialize(x)
    torch.testing.assert_close(model.latents(x).mean((0, 1)), torch.zeros(4), atol=1e-5, rtol=0)
    after = model.decode(model.encode(x)).mean((0, 2, 3)) - x.mean((0, 2, 3))
    assert float(after.abs().max()) < 0.05 < float(before.abs().max())


def test_the_codebook_stands_still_outside_training() -> None:
    model, rng = codec().eval(), torch.Generator().manual_seed(0)
    before = model.quantizer.codebook.clone()
    model.loss(images(2, 3, 8, 12), rng)
    assert torch.equal(model.quantizer.codebook, before)
    model.train().loss(images(2, 3, 8, 12), rng)
    assert not torch.equal(model.quantizer.codebook, before)


def test_empty_images_have_a_finite_loss() -> None:
    loss, _ = codec().loss(torch.zeros(2, 3, 8, 12), torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(loss))
