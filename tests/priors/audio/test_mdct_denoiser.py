"""The denoiser of sound: what it begins as, what it learns, and what a frame depends on."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sepcli.errors import InputError, PriorError
from sepcli.priors.audio.mdct_denoiser import MAX_RATIO, SpectralPrior
from sepcli.priors.audio.spectral_net import SpectralConfig

BANDS = tuple(float(s) for s in np.geomspace(0.5, 1e-3, 8))
TINY = SpectralConfig(bins=8, width=16, blocks=3, dilations=(1, 2), embedding=8, band_std=BANDS)


def prior(config: SpectralConfig = TINY, shaken: float = 0.0) -> SpectralPrior:
    """An untrained network, which says nothing; or one whose weights have been shaken."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = SpectralPrior(config)
        for parameter in made.parameters():
            parameter.data += shaken * torch.randn_like(parameter)
    return made.requires_grad_(False)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sigma", [1e-4, 0.02, 3.0])
def test_it_begins_as_wieners_filter(sigma: float) -> None:
    x, var = noise(2, 1, 1, 8, 5), torch.tensor(BANDS)[:, None] ** 2
    mean, variance = prior().moments(x, torch.tensor(sigma))
    torch.testing.assert_close(mean, x * var / (var + sigma**2))
    torch.testing.assert_close(variance, (var * sigma**2 / (var + sigma**2)).expand_as(x), rtol=1e-4, atol=0)
    score = prior().score(x.double(), torch.tensor(sigma))
    assert score.dtype == torch.float64
    torch.testing.assert_close(score, -x.double() / (var + sigma**2), rtol=2e-3, atol=1e-6 / sigma**2)


def test_wiener_scores_one_on_what_it_is_made_for() -> None:
    x = noise(64, 8, 200) * torch.tensor(BANDS)[:, None]
    _, figures = prior().loss(x, np.random.default_rng(0))
    assert figures["mse"] == pytest.approx(figures["wiener"], rel=1e-6)
    assert figures["mse"] == pytest.approx(1.0, abs=0.1)


def test_it_learns_mean_and_variance() -> None:
    """A sound that is there or not, in frames that are independent: D is known, and is not Wiener's."""
    sigma, share, bins = 0.3, 0.1, 4
    config = SpectralConfig(bins=bins, width=16, blocks=1, embedding=8, band_std=(share**0.5,))
    config = replace(config, p_mean=float(np.log(sigma)), p_std=0.0)
    model, rng = prior(config).requires_grad_(True), np.random.default_rng(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)

    def draw(count: int) -> Tensor:
        there = torch.from_numpy(rng.random((count, 1, 16)) < share)
        return there * torch.from_numpy(rng.standard_normal((count, bins, 16))).float()

    for _ in range(300):
        loss, _ = model.loss(draw(32), rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    noisy = draw(256)
    noisy += sigma * torch.from_numpy(rng.standard_normal(noisy.shape)).float()
    total = 1 + sigma**2
    energy = noisy.square().sum(1, keepdim=True) / 2
    odds = np.log(share / (1 - share)) + energy * (1 / sigma**2 - 1 / total)
    there = torch.sigmoid(odds - bins / 2 * np.log(total / sigma**2))
    exact = there * noisy / total
    std = there * sigma**2 / total + there * (1 - there) * (noisy / total) ** 2
    with torch.no_grad():
        mean, variance = model.denoise(noisy, torch.full((256,), sigma))
    var = share * sigma**2 / (share + sigma**2)
    error, usual = ((d - exact).square().mean() for d in (mean, noisy * share / (share + sigma**2)))
    assert error < 0.1 * usual
    off, unaware = ((c / std).log().abs().median() for c in (variance, var))
    assert off < 0.3 * unaware


def test_a_foreign_sound_is_noise_of_another_kind_and_counts_for_no_more_than_its_chunk() -> None:
    x, rng = noise(64, 8, 200) * torch.tensor(BANDS)[:, None], np.random.default_rng
    _, alone = prior().loss(x, rng(0), torch.zeros_like(x))
    assert 0.8 < alone["wiener"] <= 1.0
    there = (torch.arange(64) < 32).float()[:, None, None]
    _, beside = prior().loss(x, rng(0), 100.0 * there * noise(64, 8, 200, seed=1))
    assert alone["wiener"] < beside["wiener"] <= 1.0
    assert beside["mse"] == pytest.approx(beside["wiener"], rel=1e-2)


def test_what_is_far_too_loud_for_its_band_leaves_the_others_to_be_seen() -> None:
    inputs: list[Tensor] = []
    net = torch.nn.Identity()
    net.forward = lambda features, steps: inputs.append(features) or features.new_zeros(1, 24, 3)  # type: ignore
    x = torch.tensor(BANDS)[None, :, None].expand(1, 8, 3).clone()
    x[0, -1] = 1.0  # a thousand times its band's standard deviation
    SpectralPrior(TINY, net).denoise(x, torch.tensor([1e-4]))
    assert inputs[0][0, :7, 0].tolist() == pytest.approx([1.0] * 7, rel=0.01)
    assert 8.0 < float(inputs[0][0, 7, 0]) < 16.0


def test_a_surprise_does_not_outweigh_all_else() -> None:
    """One loud onset in a band that is silent otherwise."""
    config = replace(TINY, p_mean=float(np.log(1e-3)), p_std=0.0)
    model, x = prior(config).requires_grad_(True), 1e-3 * noise(4, 8, 50)
    x[0, -1, 25] = 10.0
    loss, _ = model.loss(x, np.random.default_rng(0))
    loss.backward()
    r = model.get_parameter("net.leave.bias").grad[2 * 8 :]  # type: ignore[index]
    assert 0 < r.norm() < 0.1 * 0.5 * 1.1 * MAX_RATIO / x.numel()


@pytest.mark.parametrize("variance", [True, False])
def test_a_frame_depends_on_those_within_reach(variance: bool) -> None:
    model = prior(replace(TINY, variance=variance), shaken=0.3)
    assert TINY.reach == 4
    x, sigma = noise(1, 8, 30), torch.tensor([0.1])
    near, far = x.clone(), x.clone()
    near[..., 15 + TINY.reach], far[..., 15 + TINY.reach + 1 :] = 1.0, 1.0
    there = [model.denoise(signal, sigma)[0][..., 15] for signal in (x, near, far)]
    assert not torch.allclose(there[0], there[1])
    torch.testing.assert_close(there[0], there[2])


def test_shifting_by_frames_shifts_what_comes_out() -> None:
    model = prior(shaken=0.3)
    x, sigma = noise(1, 8, 40), torch.tensor([0.1])
    whole, part = model.denoise(x, sigma)[0], model.denoise(x[..., 7:], sigma)[0]
    torch.testing.assert_close(part[..., TINY.reach :], whole[..., 7 + TINY.reach :], rtol=1e-4, atol=1e-5)


def test_items_do_not_see_each_other() -> None:
    model, sigma = prior(shaken=0.3), torch.tensor(0.05)
    x = noise(3, 2, 1, 8, 9)
    mean, variance = model.moments(x, sigma)
    one, alone = model.moments(x[1:2, 1:], sigma)
    torch.testing.assert_close(one, mean[1:2, 1:], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(alone, variance[1:2, 1:], rtol=1e-4, atol=1e-9)


def test_what_does_not_fit_is_refused() -> None:
    for shape in ((1, 1, 1, 9, 5), (1, 1, 2, 8, 5), (1, 8, 5)):
        with pytest.raises(InputError, match=re.escape(str(shape))):
            prior().score(torch.zeros(shape), torch.tensor(0.1))
    with pytest.raises(PriorError, match="variance"):
        prior(replace(TINY, variance=False)).moments(torch.zeros(1, 1, 1, 8, 5), torch.tensor(0.1))
