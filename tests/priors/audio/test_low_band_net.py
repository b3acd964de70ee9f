"""The network of the lowest bands: nothing before it is trained, alike wherever a beat begins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sepcli.priors.audio.low_band_net import HOP, LENGTH, PARTS, LowBandNet, overlap_add, short_frames
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.spectral_net import SpectralConfig
from sepcli.signal.mdct import imdct, mdct

BANDS = tuple(float(s) for s in np.geomspace(0.5, 1e-3, 40))
PLAIN = SpectralConfig(bins=40, width=16, blocks=2, dilations=(1, 2), embedding=8, band_std=BANDS)
GROWN = replace(PLAIN, low=32, low_width=16)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shaken(config: SpectralConfig) -> SpectralPrior:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SpectralPrior(config).requires_grad_(False)
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def test_it_adds_nothing_before_it_is_trained_and_only_to_its_bands_after() -> None:
    plain, grown = shaken(PLAIN), SpectralPrior(GROWN).requires_grad_(False)
    assert not grown.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
    x, sigma = noise(2, 40, 12), torch.tensor([0.1, 0.01])
    before = plain.denoise(x, sigma)
    for ours, theirs in zip(grown.denoise(x, sigma), before, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert grown.low is not None
    for parameter in (*grown.low.leave.parameters(), *grown.low.doubt.parameters()):
        nn.init.normal_(parameter)
    for ours, theirs in zip(grown.denoise(x, sigma), before, strict=True):
        assert not torch.allclose(ours[:, :32], theirs[:, :32], rtol=0.1)
        torch.testing.assert_close(ours[:, 32:], theirs[:, 32:])


def test_short_frames_add_up_by_the_adjoint() -> None:
    wave, rows = noise(2, 6 * HOP), noise(2, 6, LENGTH, seed=1)
    assert short_frames(wave).shape == rows.shape
    assert float((short_frames(wave) * rows).sum()) == pytest.approx(
        float((wave * overlap_add(rows)).sum()), rel=1e-4
    )
    whole = overlap_add(short_frames(wave))[:, LENGTH:-LENGTH]
    torch.testing.assert_close(whole, PARTS * wave[:, LENGTH:-LENGTH])


def test_a_beat_within_a_frame_is_heard_alike_wherever_it_begins() -> None:
    """A shift by one step, half of a frame, shifts what is added by as much."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = LowBandNet(32, 16, 8, 4).requires_grad_(False)
        nn.init.normal_(net.leave.weight)
        net.hear.weight.zero_()
        net.hear.bias.zero_()
    beat = torch.zeros(1, 200 * 32)
    beat[:, 3200:3300] = noise(1, 100)
    std, level, steps = torch.ones(1, 32, 1), torch.full((1, 1, 1), 0.1), noise(1, 8)

    def added(wave: Tensor) -> Tensor:
        x = mdct(wave, 32)
        more, _ = net(x, 0.5 * x, std, level, torch.zeros(1, 200, 4), steps)
        return imdct(more, wave.shape[-1])

    there, later = added(beat), added(beat.roll(HOP, dims=-1))
    assert float(there.abs().max()) > 0.01
    torch.testing.assert_close(later[:, 2000:4400], there[:, 2000 - HOP : 4400 - HOP], rtol=1e-3, atol=1e-4)


def test_a_frame_depends_on_those_within_reach() -> None:
    model, x, sigma = shaken(GROWN), noise(1, 40, 200), torch.tensor([0.1])
    far = x.clone()
    far[..., 100 + GROWN.reach + 1 :] = 1.0
    near = x.clone()
    near[..., 100 + GROWN.reach // 2] = 1.0
    there = [model.denoise(signal, sigma)[0][..., 100] for signal in (x, near, far)]
    assert not torch.equal(there[0], there[1])
    torch.testing.assert_close(there[0], there[2])


def test_its_loss_is_the_error_in_its_bands_in_decibels_of_the_sound() -> None:
    model = SpectralPrior(
        replace(GROWN, p_mean=-20.0, p_std=0.0)
    )  # no noise: the filter copies what is there
    x, other = noise(4, 40, 30), noise(4, 40, 30, seed=1)
    for gain in (0.1, 10.0):
        _, figures = model.low_loss(x, np.random.default_rng(0), gain * other)
        assert figures["error"] == pytest.approx(20 * np.log10(gain), abs=0.6)
    beyond = torch.cat([torch.zeros(4, 32, 30), 10.0 * noise(4, 8, 30)], dim=1)
    assert model.low_loss(x, np.random.default_rng(0), beyond)[1]["error"] < -25.0
