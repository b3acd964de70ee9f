"""Short-time spectra of arrays, by SciPy's transforms: what needs no gradient and no GPU needs no torch."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

HOPS = 4
"""Hops per window."""
Real = TypeVar("Real", np.float32, np.float64)


def fft_size(seconds: float, sample_rate: int) -> int:
    """Return the length of a short-time window in samples, about ``seconds``: a power of two, at least 16."""
    return 1 << max(4, round(math.log2(seconds * sample_rate)))


def hann(length: int) -> NDArray[np.float64]:
    """Return the periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def stft(signal: NDArray[Real], window: NDArray[Real]) -> NDArray[np.complexfloating]:
    """Return short-time spectra, (..., T) to (..., N, F), in the precision of the signal.

    Frames start every quarter of a window, the first half a window before the signal; beyond the ends
    are zeros, so that signals may have any length. ``torch.stft`` has the same frames.
    """
    import scipy.fft

    n = len(window)
    padded = np.zeros((*signal.shape[:-1], signal.shape[-1] + n), signal.dtype)
    padded[..., n // 2 : -(n // 2)] = signal
    frames = sliding_window_view(padded, n, axis=-1)[..., :: n // HOPS, :]
    spectra: NDArray[np.complexfloating] = scipy.fft.rfft(frames * window, overwrite_x=True)
    return spectra


def istft(spectra: NDArray[np.complexfloating], window: NDArray[Real], length: int) -> NDArray[Real]:
    """Return the signals (..., length) whose spectra by ``stft`` are nearest to those given (..., N, F).

    Spectra may be overwritten. Source: Griffin & Lim 1984, equation 6.
    """
    import scipy.fft

    n = len(window)
    frames = scipy.fft.irfft(spectra, n, overwrite_x=True)
    frames *= window
    inside = slice(n // 2, n // 2 + length)
    energy = _overlapped(np.broadcast_to(window * window, frames.shape[-2:]))
    signals: NDArray[Real] = _overlapped(frames)[..., inside] / energy[inside]
    return signals


def _overlapped(frames: NDArray[Real]) -> NDArray[Real]:
    """Add frames (..., N, n), each a quarter of a window after the one before."""
    *lead, count, n = frames.shape
    quarters = frames.reshape(*lead, count, HOPS, n // HOPS)
    total = np.zeros((*lead, count + HOPS - 1, n // HOPS), frames.dtype)
    for number in range(HOPS):
        total[..., number : number + count, :] += quarters[..., number, :]
    return total.reshape(*lead, -1)
