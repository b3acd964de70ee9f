"""From a mask on the mixture's short-time spectrum to two stems that sum to the mixture.

Periodic Hann window of 93 ms rounded to a power of two (2,048 samples at 22,050 Hz), hop a quarter of it,
zeros beyond the ends, so that a signal of any length will do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.signal.consistency import fft_size

Array = NDArray[np.float64]
FindMask = Callable[[Array], Array]
"""Magnitudes (F, N) to the share of the drums in every bin, (F, N), between 0 and 1."""

WINDOW_SECONDS = 2048 / 22050
UNDECIDED = 0.5


def split(mixture: Tensor, sample_rate: int, find_mask: FindMask) -> Tensor:
    """Share a mixture between drums and bass.

    Args:
        mixture: (C, T) or (T,). All channels get the same mask, found on their root mean square.
        sample_rate: Hz.
        find_mask: A method; it never sees silence.

    Returns:
        (2, C, T) or (2, T): drums, bass; they sum to the mixture.
    """
    if not mixture.any():
        return torch.zeros(2, *mixture.shape, dtype=mixture.dtype, device=mixture.device)
    n_fft = frame_length(sample_rate)
    window = torch.hann_window(n_fft, dtype=mixture.dtype, device=mixture.device)
    channels = mixture.reshape(-1, mixture.shape[-1])
    spectra = torch.stft(channels, n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True)
    magnitude = spectra.abs().square().mean(dim=0).sqrt().double().cpu().numpy()
    mask = torch.from_numpy(find_mask(magnitude)).to(channels)
    drums = torch.istft(mask * spectra, n_fft, n_fft // 4, window=window, length=mixture.shape[-1])
    return torch.stack([drums, channels - drums]).reshape(2, *mixture.shape)


def ratio(drums: Array, bass: Array) -> Array:
    """drums / (drums + bass), both (F, N) and not negative; one half where both are zero."""
    total = drums + bass
    return np.divide(drums, total, out=np.full_like(total, UNDECIDED), where=total > 0)


def frame_length(sample_rate: int) -> int:
    """Samples of a short-time window, a power of two."""
    return fft_size(WINDOW_SECONDS, sample_rate)


def frame_rate(sample_rate: int) -> float:
    """Frames per second."""
    return sample_rate / (frame_length(sample_rate) // 4)
