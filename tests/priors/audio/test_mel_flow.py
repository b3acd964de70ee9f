"""Mel frames, and flows that are conditioned on them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from wave_flows import draw, flow

from sepcli.errors import InputError
from sepcli.priors.audio.mel import FLOOR, HOP, MelFrames
from sepcli.priors.noise import noise_seeds

RATE = 14_700


def test_frames_say_how_loud_which_band_is_and_when() -> None:
    frames = MelFrames(20, HOP, RATE)
    time = torch.arange(8 * HOP) / RATE
    tones = torch.stack([torch.sin(2 * math.pi * hertz * time) for hertz in (300.0, 900.0, 4000.0)])
    actual = frames(0.5 * tones)
    assert actual.shape == (3, 20, 8)
    peaks = actual[..., 4].argmax(-1).tolist()
    assert peaks == sorted(set(peaks))
    louder = frames(tones)[..., 4].amax(-1) - actual[..., 4].amax(-1)
    torch.testing.assert_close(louder, torch.full((3,), math.log10(4)), atol=1e-4, rtol=0)
    silence = frames(torch.zeros(2, 3, 2 * HOP))
    torch.testing.assert_close(silence, torch.full((2, 3, 20, 2), math.log10(FLOOR)))
    click = torch.zeros(8 * HOP)
    click[3 * HOP + HOP // 2] = 1.0
    assert int(frames(click).mean(0).argmax()) == 3
    delayed = frames(torch.cat([torch.zeros(3, HOP), tones[:, :-HOP]], dim=1))
    torch.testing.assert_close(delayed[..., 1:6], frames(tones)[..., :5], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("variant", ["waveglow", "spectral"])
def test_each_sound_is_known_by_its_own_frames(variant: str) -> None:
    p, x, sigma = flow(variant, shaken=0.2, mels=4), 0.3 * draw(2, 2, 1, 2 * HOP), torch.tensor(0.3)
    mels = 2.0 * draw(2, 2, 4, 2, seed=3)
    value = p.log_prob(x, 0.3, mels)
    alone = p.log_prob(x[1:, :1], 0.3, mels[1:, :1]) + p.log_prob(x[1:, 1:], 0.3, mels[1:, 1:])
    torch.testing.assert_close(value[1:], alone)
    later = mels.clone()
    later[..., 1] += 2.0
    for other in (mels.roll(1, 1), mels.flip(-1), later):
        assert (p.log_prob(x, 0.3, other) - value).abs().min() > 1e-3
    score, along, step = p.score(x, sigma, mels), draw(2, 2, 1, 2 * HOP, seed=2), 1e-2
    rise = p.log_prob(x + step * along, 0.3, mels) - p.log_prob(x - step * along, 0.3, mels)
    expected = (score * along).flatten(1).sum(1)
    torch.testing.assert_close(rise / (2 * step), expected, atol=0.5, rtol=0.02)


def test_frames_reach_the_places_that_they_cover() -> None:
    p, x = flow(shaken=0.2, mels=4), 0.3 * draw(1, 1, 32 * HOP)
    net, context = p.layers.splits[0].coupling.net, draw(1, 4, 32)
    changed = context.clone()
    changed[..., 20] += 1.0
    value = p.layers.scales[0](x, context)[0][:, :2]
    moved = (net(value, changed) - net(value, context)).abs().amax((0, 1)) > 1e-6
    places = moved.nonzero()[:, 0]
    near = 1 + 2  # what the dilated layers reach beyond the frame
    per_frame = value.shape[-1] // 32
    assert int(places.min()) >= 20 * per_frame - near
    assert int(places.max()) < 21 * per_frame + near
    assert len(places) >= per_frame


def test_in_training_frames_are_of_the_clean_sound() -> None:
    p, x = flow(shaken=0.3, mels=4, sigma_max=0.0, noise=0.5), 0.01 * draw(3, 2 * HOP)
    frames = p.mel_frames(x[:, None])
    assert frames is not None
    assert frames.shape == (3, 1, 4, 2)
    loss, _ = p.loss(x, np.random.default_rng(0))
    noisy = p.noisy(x[:, None], torch.zeros(3), noise_seeds(3, np.random.default_rng(0)))
    expected = -p.log_prob(noisy[:, None], mels=frames).mean() / (2 * HOP)
    torch.testing.assert_close(loss, expected)
    wrong = -p.log_prob(noisy[:, None], mels=p.mel_frames(noisy)).mean() / (2 * HOP)
    assert abs(float(wrong - expected)) > 1e-3


def test_drawn_sounds_have_the_density_s_latents_given_frames() -> None:
    p, mels = flow(shaken=0.1, mels=4), draw(20, 4, 2)
    samples = p.sample(20, 2 * HOP, torch.Generator().manual_seed(0), sigma=0.1, mels=mels)
    latents = p.layers(samples[:, None], p.context(torch.full((20,), 0.1), mels))[0]
    every = torch.cat([z.flatten() for z in latents])
    assert float(every.mean()) == pytest.approx(0.0, abs=0.04)
    assert float(every.std()) == pytest.approx(1.0, abs=0.04)


def test_what_is_refused_of_frames() -> None:
    p, x = flow(mels=4), draw(1, 1, 1, 2 * HOP)
    for mels in (None, draw(1, 1, 4, 3), draw(1, 4, 2), draw(1, 1, 3, 2)):
        with pytest.raises(InputError, match=r"\(1, 1, 4, 2\)"):
            p.log_prob(x, mels=mels)
        with pytest.raises(InputError, match=r"\(1, 1, 4, 2\)"):
            p.score(x, torch.tensor(0.1), mels)
    with pytest.raises(InputError, match=r"\bmel"):
        flow().log_prob(x, mels=draw(1, 1, 4, 2))
    with pytest.raises(InputError, match=r"\(1, 4, 2\)"):
        p.sample(1, 2 * HOP, torch.Generator())
    with pytest.raises(InputError, match=r"\(1, 1, 1, 496\)"):
        p.log_prob(x[..., :-16])
