"""Flows of waveforms: density, Jacobian, score, noise levels, drawing, learning, and what they refuse."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from train_request import run
from wave_flows import draw, flow

from sepcli.catalog import card as cards
from sepcli.errors import InputError, PriorError
from sepcli.priors.audio.load_flows import load_wave_flow
from sepcli.priors.audio.wave_flow import VARIANTS, WaveFlowConfig
from sepcli.separation.independent import IndependentPriors
from sepcli.training.loop import write_weights
from sepcli.training.task import LoopSettings

COUPLINGS = tuple(variant for variant in VARIANTS if variant != "tarflow")


@pytest.mark.parametrize("variant", COUPLINGS)
def test_it_begins_as_white_noise(variant: str) -> None:
    p, x = flow(variant), draw(2, 3, 1, 16)
    white = (-0.5 * x**2 - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)
    torch.testing.assert_close(p.log_prob(x), white)
    torch.testing.assert_close(p.score(x, torch.tensor(0.3)), -x)


@pytest.mark.parametrize(("variant", "mels"), [*itertools.product(COUPLINGS, (0, 3)), ("tarflow", 0)])
def test_inverse_and_log_determinant(variant: str, mels: int) -> None:
    p = flow(variant, shaken=0.2, mels=mels).double()
    frames = draw(1, mels, 2, seed=2).double() if mels else None
    x, context = draw(1, 1, 16).double(), p.context(torch.tensor([0.1]).double(), frames)
    latents, log_det = p.layers(x, context)
    like = (x,) if variant == "tarflow" else ()
    torch.testing.assert_close(p.layers.inverse(latents, context, *like), x, atol=1e-9, rtol=1e-9)

    def one(row: Tensor) -> Tensor:
        return torch.cat([z.flatten() for z in p.layers(row.view(1, 1, -1), context)[0]])

    jacobian = torch.autograd.functional.jacobian(one, x.flatten())
    assert float(torch.linalg.slogdet(jacobian)[1]) == pytest.approx(float(log_det), abs=1e-9)
    assert abs(float(log_det)) > 0.1


@pytest.mark.parametrize("variant", VARIANTS)
def test_its_density_integrates_to_one(variant: str) -> None:
    p = flow(variant, shaken=0.2, squeezes=(1,), steps=3, patch=2)
    side, count = 14.0, 281
    grid = torch.linspace(-side, side, count)
    pairs = torch.cartesian_prod(grid, grid).view(-1, 1, 1, 2)
    total = float(p.log_prob(pairs, 0.2).double().exp().sum()) * (2 * side / (count - 1)) ** 2
    assert total == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_score_is_the_slope_of_the_log_density(variant: str) -> None:
    p, x, sigma = flow(variant, shaken=0.2), draw(2, 2, 1, 16), torch.tensor(0.4)
    score, along, step = p.score(x, sigma), draw(2, 2, 1, 16, seed=2), 1e-2
    rise = (p.log_prob(x + step * along, 0.4) - p.log_prob(x - step * along, 0.4)) / (2 * step)
    torch.testing.assert_close((score * along).flatten(1).sum(1), rise, atol=0.02, rtol=0.01)
    torch.testing.assert_close(p.log_prob(x[1:2], 0.4), p.log_prob(x, 0.4)[1:2])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(p.score(x.clone(), sigma), score)
    assert p.score(x.double(), sigma).dtype == torch.float64


def test_it_is_told_the_noise_up_to_the_greatest() -> None:
    p, x = flow(shaken=0.3, sigma_max=0.5), draw(2, 1, 1, 16)
    assert not torch.allclose(p.log_prob(x, 0.4), p.log_prob(x, 0.05), atol=0.05)
    torch.testing.assert_close(p.log_prob(x, 0.5), p.log_prob(x, 3.0))
    nearest = p.score(x, torch.tensor(0.5))
    torch.testing.assert_close(p.score(x, torch.tensor(3.0)), nearest * 0.5 / 3.0, rtol=1e-4, atol=1e-6)
    deaf = flow(shaken=0.3, sigma_max=0.0, noise=0.1)
    torch.testing.assert_close(deaf.log_prob(x, 0.4), deaf.log_prob(x))
    expected = deaf.score(x, torch.tensor(0.0)) * 0.1 / math.hypot(0.1, 0.4)
    torch.testing.assert_close(deaf.score(x, torch.tensor(0.4)), expected, rtol=1e-4, atol=1e-6)


def test_the_loss_is_the_cross_entropy_of_noisy_sounds() -> None:
    p, x = flow(sigma_max=0.0, noise=0.5), 0.3 * draw(200, 64)
    loss, figures = p.loss(x, np.random.default_rng(0))
    energy = float(x.square().mean()) + 0.25
    assert float(loss) == pytest.approx(0.5 * energy + 0.5 * math.log(2 * math.pi), rel=5e-3)
    assert figures == {"nats": float(loss)}
    levels = flow(clean=0.2).training_sigmas(1000, np.random.default_rng(0))
    assert int((levels == 0.0).sum()) in (200, 201)
    noise = levels[levels > 0.0].log10().sort().values
    torch.testing.assert_close(noise, torch.linspace(math.log10(2e-3), 0.0, len(noise)), atol=0.01, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_drawn_sounds_have_the_density_s_latents(variant: str) -> None:
    p, rng = flow(variant, shaken=0.1), torch.Generator().manual_seed(0)
    samples = p.sample(100, 64, rng, sigma=0.1)
    assert samples.shape == (100, 64)
    latents = p.layers(samples[:, None], p.context(torch.full((100,), 0.1)))[0]
    every = torch.cat([z.flatten() for z in latents])
    assert float(every.mean()) == pytest.approx(0.0, abs=0.04)
    assert float(every.std()) == pytest.approx(1.0, abs=0.04)
    cold = p.sample(3, 64, rng, temperature=0.0)
    torch.testing.assert_close(cold, cold[:1].expand_as(cold), atol=1e-4, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_learns_a_tone(variant: str) -> None:
    p, rng = flow(variant, noise=0.05, sigma_max=0.0, width=8), np.random.default_rng(0)
    tones = torch.sin(torch.arange(64) / 5 + torch.linspace(0.0, 6.0, 16)[:, None])
    p.initialize(tones, rng)
    p.train().requires_grad_(True)
    optimizer, actual = torch.optim.Adam(p.parameters(), 1e-2), []
    for _ in range(60):
        loss, _ = p.loss(tones, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        actual.append(float(loss.detach()))
    white = 0.5 * math.log(2 * math.pi * math.e * 0.5)  # what its power alone would take
    assert np.mean(actual[-5:]) < white - 0.5
    p.eval().requires_grad_(False)
    noise = 0.05 * draw(16, 64)
    value = p.log_prob((tones + noise)[:, None, None])
    others = p.log_prob((tones.sign() * 0.5**0.5 + noise)[:, None, None])  # a square of the same power
    assert (value > others + 10).all()


def test_sources_are_asked_one_by_one() -> None:
    first, second, x = flow(shaken=0.2), flow("flowavenet", shaken=0.2), draw(2, 2, 1, 16)
    score = IndependentPriors((first, second)).score(x, torch.tensor(0.2))
    torch.testing.assert_close(score[:, 1:], second.score(x[:, 1:], torch.tensor(0.2)))


def test_only_weights_of_wavenets_are_rounded(tmp_path: Path) -> None:
    p = flow(shaken=0.2)
    write_weights(p, tmp_path / "model.safetensors")
    stored = load_file(tmp_path / "model.safetensors")
    for name, tensor in p.state_dict().items():
        assert (stored[name].dtype == torch.bfloat16) == (".net." in name)
        torch.testing.assert_close(stored[name].float(), tensor, rtol=2**-8 * (".net." in name), atol=0)


def test_what_is_refused() -> None:
    p = flow()
    for shape in ((1, 1, 12), (1, 1, 1, 12), (1, 1, 2, 16), (1, 1, 1, 0)):
        with pytest.raises(InputError, match=re.escape(str(shape))):
            p.log_prob(torch.zeros(shape))
    with pytest.raises(PriorError, match="variance"):
        p.moments(torch.zeros(1, 1, 1, 16), torch.tensor(0.1))
    wrong: list[dict[str, Any]] = [
        {"variant": "realnvp"},
        {"squeezes": ()},
        {"squeezes": (3, 0)},
        {"squeezes": (13,)},
        {"layers": 60},
        {"steps": 0},
        {"noise": 0.0},
        {"sigma_max": 1e-4},
        {"clean": 2.0},
        {"sample_rate": math.nan},
        {"mels": -1},
        {"mels": 129},
        {"patch": 0},
        {"reach": 5000},
        {"depths": ()},
        {"depths": (300,)},
        {"variant": "tarflow", "width": 6},
        {"variant": "tarflow", "mels": 8},
    ]
    make: Callable[..., WaveFlowConfig] = WaveFlowConfig
    for fields in wrong:
        with pytest.raises(ValueError, match="flow"):
            make(**fields)


def test_training_can_start_from_a_trained_flow(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    common = {"data": Path("toy-waves"), "family": "flow", "preset": "tiny", "batch": 2, "tokens": 128}
    common |= {"loop": LoopSettings(steps=1, learning_rate=1e-12)}
    run(dict(common, out=first, sources=("sine",), loop=LoopSettings(steps=2)))
    run(dict(common, out=second, sources=("square",), init=str(first)))
    before, after = (load_wave_flow(folder).state_dict() for folder in (first, second))
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert [each["prior"] for each in cards.read(second).parts["flow"].history] == ["first"]
    for other in ({"init": "mnist"}, {"init": str(first), "variant": "tarflow"}):
        with pytest.raises(PriorError, match="another network"):
            run(dict(common, out=tmp_path / "third", sources=("square",), **other))
