"""Stems sum to the mixture, masks follow the estimates."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcli.signal.consistency import project, wiener

SINGLE = 1e-6
"""Error of spectra in float32, of signals of about full scale."""


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def tone(frequency: float, length: int = 8000) -> torch.Tensor:
    """Frequency in cycles per sample."""
    return torch.sin(2 * torch.pi * frequency * torch.arange(length, dtype=torch.float64))


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(1, 700),
    draws=st.integers(1, 3),
    sources=st.integers(1, 4),
    channels=st.integers(1, 3),
    cutoff=st.sampled_from([0.5, 0.3, 0.01, 1e-6]),
    exponent=st.sampled_from([0.5, 1.0, 2.0]),
    level=st.sampled_from([0.0, 1e-150, 1e-6, 1.0, 1e6]),
)
def test_wiener_stems_sum_to_the_mixture(
    length: int, draws: int, sources: int, channels: int, cutoff: float, exponent: float, level: float
) -> None:
    mixture = normal(channels, length) * level
    stems = wiener(
        normal(draws, sources, length, seed=1) * level,
        mixture,
        n_fft=64,
        hop=16,
        exponent=exponent,
        cutoff=cutoff,
    )
    assert stems.shape == (sources, channels, length)
    torch.testing.assert_close(stems.sum(0), mixture, atol=1e-12 * max(level, 1e-140), rtol=1e-9)


@pytest.mark.parametrize("level", [1e-150, 1.0, 1e150])
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 1000])
def test_silent_estimates_give_equal_parts(length: int, level: float) -> None:
    mixture = normal(2, length)
    stems = wiener(torch.zeros(1, 4, length), level * mixture, n_fft=64, hop=16) / level
    torch.testing.assert_close(stems, (mixture / 4).expand(4, -1, -1), atol=SINGLE, rtol=0)
    assert not wiener(normal(1, 2, length), torch.zeros(2, length), n_fft=64, hop=16).any()


def test_tones_are_told_apart_and_keep_their_place_in_the_stereo_image() -> None:
    low, high = tone(0.02), tone(0.15)
    mixture = torch.stack([low + 0.2 * high, 0.1 * low - high])
    stems = wiener(torch.stack([0.8 * low, 0.9 * high])[None], mixture, n_fft=512, hop=128)
    torch.testing.assert_close(
        stems[0, :, 500:-500], torch.stack([low, 0.1 * low])[:, 500:-500], atol=0.02, rtol=0
    )
    torch.testing.assert_close(
        stems[1, :, 500:-500], torch.stack([0.2 * high, -high])[:, 500:-500], atol=0.02, rtol=0
    )


def test_above_the_cutoff_the_band_below_decides() -> None:
    mixture = tone(0.4)[None]
    estimates = torch.stack([tone(0.05) + 0.01 * tone(0.45), tone(0.22)])[None]
    stems = wiener(estimates, mixture, n_fft=512, hop=128, cutoff=0.25)
    inner = slice(500, -500)
    assert stems[1, 0, inner].square().mean() > 0.98 * mixture[0, inner].square().mean()
    without = wiener(estimates, mixture, n_fft=512, hop=128)
    assert without[1, 0, inner].square().mean() < 0.6 * mixture[0, inner].square().mean()


def test_draws_are_averaged_in_the_mask() -> None:
    mixture = normal(1, 4000)
    draws = normal(2, 2, 4000, seed=1)
    options = {"n_fft": 256, "hop": 64}
    each = torch.stack([wiener(draw[None], mixture, **options) for draw in draws])
    torch.testing.assert_close(wiener(draws, mixture, **options), each.mean(0), atol=SINGLE, rtol=0)


@pytest.mark.parametrize("level", [1e-150, 1e150])
def test_masks_do_not_depend_on_the_level(level: float) -> None:
    mixture, estimates = normal(1, 1000), normal(1, 2, 1000, seed=1)
    options = {"n_fft": 256, "hop": 64}
    stems = wiener(level * estimates, level * mixture, **options) / level
    torch.testing.assert_close(stems, wiener(estimates, mixture, **options), atol=SINGLE, rtol=0)


def test_a_louder_exponent_is_more_decided() -> None:
    mixture = tone(0.1)[None]
    estimates = torch.stack([mixture[0], 0.5 * mixture[0]])[None]
    for exponent, share in ((1.0, 1 / 1.5), (2.0, 1 / 1.25)):
        stems = wiener(estimates, mixture, n_fft=512, hop=128, exponent=exponent)
        torch.testing.assert_close(stems[0], share * mixture, atol=1e-4, rtol=0)


@pytest.mark.parametrize("cutoff", [0.5, 0.2])
def test_the_largest_exponent_is_finite_in_single_precision(cutoff: float) -> None:
    mixture = normal(1, 4000).float()
    estimates = normal(1, 2, 4000, seed=1).float()
    stems = wiener(estimates, mixture, n_fft=256, hop=64, exponent=50.0, cutoff=cutoff)
    double = wiener(estimates.double(), mixture.double(), n_fft=256, hop=64, exponent=50.0, cutoff=cutoff)
    torch.testing.assert_close(stems.double(), double, atol=1e-3, rtol=0)


def test_project_adds_what_is_missing() -> None:
    estimates, mixture = normal(3, 2, 100), normal(2, 100, seed=1)
    stems = project(estimates, mixture)
    torch.testing.assert_close(stems.sum(0), mixture)
    moved = stems - estimates
    torch.testing.assert_close(moved[0], moved[2])
    torch.testing.assert_close(project(stems, mixture), stems)


def test_project_by_weights_moves_the_sources_least() -> None:
    estimates, mixture = normal(2, 1, 100), normal(1, 100, seed=1)
    weights = torch.tensor([1.0, 3.0])
    stems = project(estimates, mixture, weights)
    torch.testing.assert_close(stems.sum(0), mixture)
    moved = (stems - estimates) / weights[:, None, None].double()
    torch.testing.assert_close(moved[1], 3 * moved[0])
