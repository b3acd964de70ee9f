"""Laws of all baselines."""

from __future__ import annotations

import pytest
import torch
from toy_drums_bass import RATE, hits, tone

from sepcli.baselines import BASELINES

EVERY = sorted(BASELINES)
MASKS = sorted(set(BASELINES) - {"ica"})


def _mixture(seconds: float = 2.0, channels: int = 1) -> torch.Tensor:
    gains = torch.tensor([[1.0], [0.25]])[:channels]
    return gains * (tone(seconds) + hits([0.3, 0.9, 1.4], seconds))


@pytest.mark.parametrize("method", MASKS)
@pytest.mark.parametrize("channels", [1, 2])
def test_stems_sum_to_the_mixture(method: str, channels: int) -> None:
    mixture = _mixture(channels=channels)
    stems = BASELINES[method].load()(mixture, RATE)
    assert stems.shape == (2, *mixture.shape)
    torch.testing.assert_close(stems.sum(dim=0), mixture, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize("shape", [(1, 4000), (2, 4000), (4000,), (1, 1)])
def test_silence_stays_silent(method: str, shape: tuple[int, ...]) -> None:
    stems = BASELINES[method].load()(torch.zeros(shape), RATE)
    assert stems.shape == (2, *shape)
    assert not stems.any()


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize("length", [1, 2, 3, 100, 1000, 1600])
def test_short_signals(method: str, length: int) -> None:
    mixture = _mixture()[:, 3000 : 3000 + length]
    stems = BASELINES[method].load()(mixture, RATE)
    assert stems.shape == (2, 1, length)
    assert bool(stems.isfinite().all())
    if method != "ica":
        torch.testing.assert_close(stems.sum(dim=0), mixture, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", EVERY)
def test_stereo_keeps_the_image(method: str) -> None:
    stems = BASELINES[method].load()(_mixture(channels=2), RATE)
    torch.testing.assert_close(stems[:, 1], 0.25 * stems[:, 0], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("method", EVERY)
def test_a_signal_without_a_channel_axis(method: str) -> None:
    mixture = _mixture()
    separate = BASELINES[method].load()
    torch.testing.assert_close(separate(mixture[0], RATE), separate(mixture, RATE)[:, 0])


@pytest.mark.parametrize("method", EVERY)
def test_the_same_again_and_the_input_untouched(method: str) -> None:
    mixture = _mixture()
    before = mixture.clone()
    first = BASELINES[method].load()(mixture, RATE)
    torch.manual_seed(1)
    assert torch.equal(BASELINES[method].load()(mixture, RATE), first)
    assert torch.equal(mixture, before)


@pytest.mark.parametrize("method", sorted(set(BASELINES) - {"nmf"}))
def test_louder_is_only_louder(method: str) -> None:
    mixture = _mixture()
    separate = BASELINES[method].load()
    torch.testing.assert_close(separate(4 * mixture, RATE), 4 * separate(mixture, RATE), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("method", EVERY)
def test_anti_phase_stereo_is_no_accident(method: str) -> None:
    mixture = torch.tensor([[1.0], [-1.0]]) * _mixture()
    stems = BASELINES[method].load()(mixture, RATE)
    assert bool(stems.isfinite().all())
    torch.testing.assert_close(stems.sum(dim=0), mixture, atol=1e-6, rtol=0)
