"""The MDCT against its formula, and the laws of an orthogonal transform."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sepcli.signal.mdct import imdct, mdct


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("hop", [2, 8, 256])
@pytest.mark.parametrize("frames", [0.01, 1.0, 2.0, 4.6])
def test_any_length_comes_back(hop: int, frames: float) -> None:
    length = max(1, round(frames * hop))
    x = noise(3, 1, length)
    coefficients = mdct(x, hop)
    assert coefficients.shape == (3, 1, hop, -(-length // hop))
    torch.testing.assert_close(imdct(coefficients, length), x)
    torch.testing.assert_close(coefficients.square().sum((-2, -1)), x.square().sum(-1))
    single = x.float()
    assert (imdct(mdct(single, hop), length) - single).abs().max() < 2e-5


def test_the_formula() -> None:
    hop, frames = 12, 6
    x = noise(hop * frames)
    coefficients = mdct(x, hop)
    n = torch.arange(2 * hop, dtype=torch.float64)
    window = torch.sin(math.pi / (2 * hop) * (n + 0.5))
    for b in range(1, frames - 1):
        start = b * hop - hop // 2
        for k in range(hop):
            wave = torch.cos(math.pi / hop * (n + 0.5 + hop / 2) * (k + 0.5))
            expected = math.sqrt(2 / hop) * (window * x[start : start + 2 * hop] * wave).sum()
            torch.testing.assert_close(coefficients[k, b], expected)


def test_the_matrix_is_orthogonal_and_its_inverse_the_adjoint() -> None:
    hop, length = 6, 30
    eye = torch.eye(length, dtype=torch.float64)
    forward = mdct(eye, hop).flatten(1)  # row i: the coefficients of a click at i
    torch.testing.assert_close(forward @ forward.T, eye)
    y = noise(hop, length // hop)
    torch.testing.assert_close(
        (mdct(noise(length, seed=1), hop) * y).sum(), noise(length, seed=1) @ imdct(y, length)
    )


def test_white_noise_stays_white() -> None:
    x = mdct(noise(4000, 40), 8).flatten(1)
    torch.testing.assert_close(torch.cov(x.T), torch.eye(40, dtype=torch.float64), atol=0.1, rtol=0)


def test_bands_are_frequencies() -> None:
    rate, hop = 16000, 128
    for hertz in (500, 3000, 7000):
        x = torch.sin(2 * math.pi * hertz * torch.arange(rate) / rate)
        power = mdct(x, hop).square().sum(-1)
        band = int(hertz / (rate / 2 / hop))
        assert power[band - 2 : band + 3].sum() > 0.99 * power.sum()


def test_an_odd_hop_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\b3\b"):
        mdct(noise(10), 3)
