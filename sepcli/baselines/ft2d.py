"""Repetition as peaks of the two-dimensional Fourier transform of a spectrogram.

Source: Seetharaman, Pishdadian & Pardo 2017, "Music/voice separation using the 2D Fourier transform", WASPAA.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor

from sepcli.baselines.masks import UNDECIDED, Array, split

NEIGHBOURHOOD = (1, 25)
"""Size in scales and rates of the neighborhood whose maximum is a peak."""


def ft2d(mixture: Tensor, sample_rate: int) -> Tensor:
    """Separate the repeating background, peaks along the rate axis, from the foreground.

    A peak is the maximum of its neighborhood, and above its minimum by one standard deviation of the
    magnitudes. Masks are binary. As in ``repet``, the background is called bass by convention.
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
    """Return the local maxima of (scales, rates); both axes are periodic."""
    highest = maximum_filter(heights, size=NEIGHBOURHOOD, mode="wrap")
    lowest = minimum_filter(heights, size=NEIGHBOURHOOD, mode="wrap")
    return np.asarray((heights == highest) & (highest - lowest > heights.std()))
