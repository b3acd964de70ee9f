"""Two rows to read every result against: no separation at all, and the best a ratio mask can do.

Both take the mixture m = Σ α_k x_k and return estimates of the unweighted sources x_k.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sepcli.signal.consistency import fft_size

AVERAGE, ORACLE = "average", "oracle mask"
"""Names of the rows."""
MASK_WINDOW_SECONDS = 2048 / 22050


def average(mixture: Tensor, weights: Sequence[float]) -> Tensor:
    """Every source's share is mixture / K: x_k = m / (K α_k).

    Args:
        mixture: (C, T).
        weights: The K weights α_k.

    Returns:
        (K, C, T).
    """
    return torch.stack([mixture / (len(weights) * weight) for weight in weights])


def oracle_mask(mixture: Tensor, sources: Tensor, weights: Sequence[float], sample_rate: int) -> Tensor:
    """The ideal ratio mask of powers: |α_k X_k|² / Σ_j |α_j X_j|², of the true sources, times the mixture.

    Periodic Hann window of 93 ms rounded to a power of two (2,048 samples at 22,050 Hz, 4,096 at 44,100 Hz),
    hop a quarter of it. Channels are masked one by one. The phase is the mixture's, so this bounds what masks
    can do, not separation as such (Vincent, Gribonval & Plumbley 2007, "Oracle estimators").

    Args:
        mixture: (C, T).
        sources: (K, C, T), unweighted.
        weights: The K weights α_k.
        sample_rate: In Hz.

    Returns:
        (K, C, T).
    """
    n_fft = fft_size(MASK_WINDOW_SECONDS, sample_rate)
    window = torch.hann_window(n_fft, dtype=mixture.dtype, device=mixture.device)
    estimates = torch.empty_like(sources)
    for c in range(mixture.shape[0]):  # one channel and source at a time: spectra of long tracks take memory
        spectrum = _stft(mixture[c], window)
        total = torch.full_like(spectrum.real, torch.finfo(mixture.dtype).tiny)
        for k, alpha in enumerate(weights):
            total = total + _power(alpha * sources[k, c], window)
        for k, alpha in enumerate(weights):
            share = spectrum * (_power(alpha * sources[k, c], window) / total)
            signal = torch.istft(share, n_fft, n_fft // 4, window=window, length=mixture.shape[-1])
            estimates[k, c] = signal / alpha
    return estimates


def _power(signal: Tensor, window: Tensor) -> Tensor:
    return _stft(signal, window).abs().square()


def _stft(signal: Tensor, window: Tensor) -> Tensor:
    """(T,) to (F, N); zeros beyond the ends, so that any length will do."""
    n_fft = window.shape[0]
    return torch.stft(signal, n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True)
