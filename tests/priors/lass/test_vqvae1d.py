"""The audio codec: any length in, the right length out, and something learnt in a few steps."""

from __future__ import annotations

import pytest
import torch

from sepcli.priors.lass.vqvae1d import Vqvae1d, Vqvae1dConfig, spectral_distance

CONFIG = Vqvae1dConfig(
    8000,
    hop=16,
    window=64,
    dim=24,
    encoder_dilations=(1, 2),
    decoder_dilations=(1,),
    vocabulary=32,
    code_dim=4,
)


def codec() -> Vqvae1d:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Vqvae1d(CONFIG)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 64, 1000])
def test_any_length_has_its_tokens_and_comes_back_in_whole_hops(length: int) -> None:
    model = codec().eval()
    tokens = -(-length // CONFIG.hop)
    z = model.encode(noise(3, 1, length))
    assert z.shape == (3, tokens)
    assert z.dtype == torch.int64
    assert 0 <= int(z.min()) <= int(z.max()) < model.vocabulary == 32
    decoded = model.decode(z)
    assert decoded.shape == (3, 1, tokens * CONFIG.hop)
    assert decoded.dtype == torch.float32


def test_silence_pads_the_end() -> None:
    model, x = codec().eval(), noise(2, 1, 100)
    padded = torch.nn.functional.pad(x, (0, 12))
    assert torch.equal(model.encode(x), model.encode(padded))


@torch.inference_mode()
def test_an_item_does_not_depend_on_its_batch() -> None:
    model, x = codec().eval(), noise(3, 1, 400)
    torch.testing.assert_close(model.latents(x)[1:2], model.latents(x[1:2]), atol=1e-5, rtol=1e-4)
    assert torch.equal(model.encode(x)[1:2], model.encode(x[1:2]))
    z = model.encode(x)
    torch.testing.assert_close(model.decode(z)[1:2], model.decode(z[1:2]), atol=1e-5, rtol=1e-4)


def test_weights_of_another_type_take_the_signal_along() -> None:
    model = codec().eval()
    for parameter in model.parameters():  # the codebook, a buffer, stays float32
        parameter.data = parameter.data.to(torch.bfloat16)
    decoded = model.decode(model.encode(noise(1, 1, 64)))
    assert decoded.dtype == torch.float32


def test_a_few_steps_learn_sines() -> None:
    model, rng = codec().train(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    t = torch.arange(1280) / CONFIG.sample_rate
    hertz = torch.tensor([100.0, 150.0, 200.0, 300.0])
    x = 0.5 * torch.sin(2 * torch.pi * hertz[:, None] * t)[:, None]
    losses = []
    for _ in range(80):
        loss, figures = model.loss(x, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert figures["sdr"] > 1
    assert figures["perplexity"] > 1
    assert set(figures) == {"sdr", "spectral", "commitment", "perplexity"}


def test_the_codebook_stands_still_outside_training() -> None:
    model, rng = codec().eval(), torch.Generator().manual_seed(0)
    before = model.quantizer.codebook.clone()
    model.loss(noise(2, 1, 1280), rng)
    assert torch.equal(model.quantizer.codebook, before)
    model.train().loss(noise(2, 1, 1280), rng)
    assert not torch.equal(model.quantizer.codebook, before)


def test_silence_has_a_finite_loss() -> None:
    loss, figures = codec().loss(torch.zeros(2, 1, 1280), torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(loss))
    assert figures["perplexity"] == pytest.approx(1)


def test_spectral_distance_compares_magnitudes() -> None:
    x = noise(2, 2000)
    assert float(spectral_distance(x, x)) == 0
    assert float(spectral_distance(x, -x)) == 0
    assert float(spectral_distance(x, torch.zeros_like(x))) == pytest.approx(1, abs=1e-4)
    assert float(spectral_distance(x, 0.5 * x)) == pytest.approx(0.5, abs=1e-4)
    assert bool(torch.isfinite(spectral_distance(torch.zeros_like(x), torch.zeros_like(x))))
