"""Short-time spectra are those of torch, and signals come back from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sepcli.signal.spectra import fft_size, hann, istft, stft

SINGLE = 1e-6
"""Error in float32, of signals of about full scale."""


def _noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("n", [16, 256])
@pytest.mark.parametrize("length", [1, 255, 256, 1000])
def test_spectra_and_signals_are_those_of_torch(n: int, length: int) -> None:
    signal = _noise(length, 2).T  # the samples of a file are interleaved
    window, of_torch = hann(n).astype(np.float32), torch.hann_window(n)
    frames = {"n_fft": n, "hop_length": n // 4, "window": of_torch}
    spectra = torch.stft(torch.from_numpy(signal.copy()), **frames, pad_mode="constant", return_complex=True)
    ours = stft(signal, window)
    assert ours.dtype == np.complex64
    np.testing.assert_allclose(ours, spectra.transpose(1, 2).numpy(), atol=n * SINGLE, rtol=0)
    changed = spectra * torch.rand(spectra.shape, generator=torch.Generator().manual_seed(0))
    back = istft(changed.transpose(1, 2).numpy(), window, length)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, torch.istft(changed, **frames, length=length), atol=SINGLE, rtol=0)


@settings(deadline=None, max_examples=40)
@given(length=st.integers(1, 700), channels=st.integers(1, 3), n=st.sampled_from([16, 64, 256]))
def test_signals_come_back(length: int, channels: int, n: int) -> None:
    signal, window = _noise(channels, length).astype(np.float64), hann(n)
    np.testing.assert_allclose(istft(stft(signal, window), window, length), signal, atol=1e-12, rtol=0)


def test_windows_have_lengths_of_powers_of_two() -> None:
    assert [fft_size(2048 / 22050, rate) for rate in (100, 8000, 22050, 44100)] == [16, 1024, 2048, 4096]
