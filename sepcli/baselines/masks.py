"""Separation by a mask on the short-time spectrum of the mixture, into two stems that sum to the mixture.

The transform has a periodic Hann window of 93 ms, rounded to a power of two (2,048 samples at 22,050 Hz), a
hop of a quarter of it, and zeros beyond the ends, so that signals may have any length.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.signal.spectra import fft_size

Array = NDArray[np.float64]
MaskFunction = Callable[[Array], Array]
"""Magnitudes (F, N) → fraction of the drums in every bin (F, N), in [0, 1]."""

WINDOW_SECONDS = 2048 / 22050
UNDECIDED = 0.5


def split(mixture: Tensor, sample_rate: int, mask_of: MaskFunction) -> Tensor:
    """Split a mixture (C, T) or (T,) into drums and bass, (2, C, T) or (2, T), which sum to it, by a mask.

    All channels get the same mask, computed from their root mean square. Silence gets no mask.
    """
    if not mixture.any():
        return torch.zeros(2, *mixture.shape, dtype=mixture.dtype, device=mixture.device)
    n_fft = frame_length(sample_rate)
    window = torch.hann_window(n_fft, dtype=mixture.dtype, device=mixture.device)
    channels = mixture.reshape(-1, mixture.shape[-1])
    spectra = torch.stft(channels, n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True)
    magnitude = spectra.abs().square().mean(dim=0).sqrt().double().cpu().numpy()
    mask = torch.from_numpy(mask_of(magnitude)).to(channels)
    drums = torch.istft(mask * spectra, n_fft, n_fft // 4, window=window, length=mixture.shape[-1])
    return torch.stack([drums, channels - drums]).reshape(2, *mixture.shape)


def ratio(drums: Array, bass: Array) -> Array:
    """Return drums / (drums + bass), both (F, N) and non-negative; one half where both are zero."""
    total = drums + bass
    return np.divide(drums, total, out=np.full_like(total, UNDECIDED), where=total > 0)


def frame_length(sample_rate: int) -> int:
    """Return the length of a short-time window in samples, a power of two."""
    return fft_size(WINDOW_SECONDS, sample_rate)


def frame_rate(sample_rate: int) -> float:
    """Return the number of frames per second."""
    return sample_rate / (frame_length(sample_rate) // 4)
