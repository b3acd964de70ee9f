"""Repetition: content that repeats is the background, other content the foreground.

That the background is called bass and the foreground drums is a convention: a median over repetitions keeps
sustained notes rather than hits.

Source: Rafii & Pardo 2013, "REpeating Pattern Extraction Technique (REPET): a simple method for music/voice
    separation", IEEE TASLP 21(1); Rafii & Pardo 2012, "Music/voice separation using the similarity matrix",
    ISMIR (``repet_sim``).
"""

from __future__ import annotations

import librosa
import numpy as np
from torch import Tensor

from sepcli.baselines.masks import UNDECIDED, Array, frame_rate, ratio, split

MIN_PERIOD = 0.4
"""Least period in seconds; below it, the beat spectrum is dominated by the decay of notes."""
REPEATS = 3
"""Least number of periods in a signal."""


def repet(mixture: Tensor, sample_rate: int) -> Tensor:
    """Estimate one period for the whole signal; the median over its repetitions is the background.

    The period is the lag of the beat spectrum's maximum. Signals shorter than three periods of 0.4 s are
    divided equally.
    """
    shortest = max(1, round(MIN_PERIOD * frame_rate(sample_rate)))

    def mask(magnitude: Array) -> Array:
        longest = magnitude.shape[1] // REPEATS
        if longest < shortest:
            return np.full_like(magnitude, UNDECIDED)
        beats = beat_spectrum(magnitude)
        period = shortest + int(np.argmax(beats[shortest : longest + 1]))
        return _foreground(magnitude, _repeat(magnitude, period))

    return split(mixture, sample_rate, mask)


def repet_sim(mixture: Tensor, sample_rate: int, distance: float = 0.25) -> Tensor:
    """Take the median over the most similar frames, at any distance, as the background.

    Frames at least ``distance`` seconds apart are compared by cosine similarity. A mixture of fewer than five
    frames is divided equally.
    """
    width = max(1, round(distance * frame_rate(sample_rate)))

    def mask(magnitude: Array) -> Array:
        farthest = (magnitude.shape[1] - 1) // 2 - 1
        if farthest < 1:
            return np.full_like(magnitude, UNDECIDED)
        model = librosa.decompose.nn_filter(
            magnitude, aggregate=np.median, metric="cosine", width=min(width, farthest)
        )
        return _foreground(magnitude, np.asarray(model, dtype=np.float64))

    return split(mixture, sample_rate, mask)


def beat_spectrum(magnitude: Array) -> Array:
    """Return the mean over frequencies of the unbiased autocorrelation (N,) of the power of (F, N)."""
    power, frames = magnitude**2, magnitude.shape[1]
    spectrum = np.fft.rfft(power, 2 * frames, axis=1)
    products = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :frames].mean(axis=0)
    return np.asarray(products / np.arange(frames, 0, -1))


def _repeat(magnitude: Array, period: int) -> Array:
    """Return the median over all repetitions of a period, repeated; the last may be incomplete."""
    frames = magnitude.shape[1]
    model = np.stack([np.median(magnitude[:, phase::period], axis=1) for phase in range(period)], axis=1)
    return np.asarray(model[:, np.arange(frames) % period])


def _foreground(magnitude: Array, model: Array) -> Array:
    """Return the fraction of the foreground; the background is at most the magnitude."""
    background = np.minimum(model, magnitude)
    return ratio(magnitude - background, background)
