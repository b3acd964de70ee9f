"""Repetition as peaks of the spectrogram's own two-dimensional Fourier transform."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor

from sepcli.baselines.masks import UNDECIDED, Array, split

NEIGHBOURHOOD = (1, 25)
"""Scales and rates within which a peak must be the greatest."""


def ft2d(mixture: Tensor, sample_rate: int) -> Tensor:
    """Peaks along the rate axis are the repeating background, the rest is the foreground.

    Seetharaman, Pishdadian and Pardo, "Music/voice separation using the 2D Fourier transform", WASPAA 2017:
    a peak is the maximum of its neighbourhood, and above its minimum by one standard deviation of the
    magnitudes. Binary masks. As in ``repet``, it is a convention that the background is called bass.

    Args:
        mixture: (C, T) or (T,).
        sample_rate: Hz.

    Returns:
        (2, C, T) or (2, T): drums (foreground) and bass (repeating background), which sum to the mixture.
    """
    return split(mixture, sample_rate, _mask)


def _mask(magnitude: Array) -> Array:
    transform = np.fft.fft2(magnitude)
    peaks = _peaks(np.abs(transform))
    background = np.abs(np.fft.ifft2(transform * peaks))
    foreground = np.abs(np.fft.ifft2(transform * ~peaks))
    mask = (foreground > background).astype(np.float64)
    mask[background == foreground] = UNDECIDED
    return mask


def _peaks(heights: Array) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Local maxima of (scales, rates), both of which wrap around."""
    highest = maximum_filter(heights, size=NEIGHBOURHOOD, mode="wrap")
    lowest = minimum_filter(heights, size=NEIGHBOURHOOD, mode="wrap")
    return np.asarray((heights == highest) & (highest - lowest > heights.std()))
