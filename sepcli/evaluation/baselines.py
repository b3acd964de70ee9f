"""Two rows to compare every result with: no separation at all, and the best ratio mask.

Both take the mixture m = Σ α_k x_k and return estimates of the unweighted sources x_k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sepcli.evaluation.score import TrackScore, score_track
from sepcli.metrics.tracks import Signals
from sepcli.signal.spectra import fft_size, hann, istft, stft

AVERAGE, ORACLE = "average", "oracle mask"
"""Names of the rows."""
MASK_WINDOW_SECONDS = 2048 / 22050
PART = 32
"""Length of the parts of a track that are masked at a time, in windows: their spectra stay in the caches."""


def score_rows(
    item: str,
    rows: Mapping[str, Callable[[], Signals]],
    stems: Sequence[str],
    references: Signals,
    mixture: Signals,
    weights: Sequence[float],
    metrics: Sequence[str],
    sample_rate: int,
) -> list[TrackScore]:
    """Score the estimates of every row of an item, and the baselines, one row in memory at a time.

    Args:
        item: its name.
        rows: return estimates (K, T, C), by name.
        stems: K names.
        references: (K, T, C), or more if the mixture holds others that are not scored.
        mixture: (T, C).
        weights: α_k of the references in the mixture.
        metrics: keys of ``sepcli.metrics.METRICS``, of tracks.
        sample_rate: Hz.
    """
    mixed, sources = mixture.T, references.transpose(0, 2, 1)
    scored = slice(len(stems))
    beside: dict[str, Callable[[], Signals]] = {
        AVERAGE: lambda: average(mixed, weights)[scored].transpose(0, 2, 1),
        ORACLE: lambda: oracle_mask(mixed, sources, weights, sample_rate)[scored].transpose(0, 2, 1),
    }
    return [
        score
        for row, estimates in {**rows, **beside}.items()
        for score in score_track(
            item, row, stems, references[scored], estimates(), mixture, metrics, sample_rate
        )
    ]


def average(mixture: Signals, weights: Sequence[float]) -> Signals:
    """Return mixture / K (C, T) as every source's share, x_k = m / (K α_k), (K, C, T)."""
    return np.stack([mixture / np.float32(len(weights) * weight) for weight in weights])


def oracle_mask(mixture: Signals, sources: Signals, weights: Sequence[float], sample_rate: int) -> Signals:
    """Apply the ideal ratio mask of powers, |α_k X_k|² / Σ_j |α_j X_j|², of the true sources to the mixture.

    Periodic Hann window of 93 ms rounded to a power of two (2,048 samples at 22,050 Hz, 4,096 at 44,100 Hz),
    hop a quarter of it. Channels are masked one by one. The phase is the mixture's, so this bounds what masks
    can do, not separation as such (Vincent, Gribonval & Plumbley 2007, "Oracle estimators").

    The mixture is (C, T) at ``sample_rate`` Hz; sources and estimates are (K, C, T), unweighted.
    """
    n_fft = fft_size(MASK_WINDOW_SECONDS, sample_rate)
    window = hann(n_fft).astype(np.float32)
    estimates, length = np.empty_like(sources), mixture.shape[-1]
    for start in range(0, length, PART * n_fft):
        end = min(length, start + PART * n_fft)
        first, last = max(0, start - n_fft), min(length, end + n_fft)  # all windows that reach into the part
        masked = _masked(mixture[:, first:last], sources[..., first:last], weights, window)
        for k, signal in enumerate(masked):
            estimates[k, :, start:end] = signal[:, start - first : end - first]
    return estimates


def _masked(
    mixture: Signals, sources: Signals, weights: Sequence[float], window: Signals
) -> Iterator[Signals]:
    """Yield the estimates (C, T) of ``oracle_mask``, source by source."""
    alphas = np.array(weights, np.float32)
    powers = [_power(stft(alpha * source, window)) for alpha, source in zip(alphas, sources, strict=True)]
    total = sum(powers, start=np.finfo(np.float32).tiny)
    spectrum, length = stft(mixture, window), mixture.shape[-1]
    for alpha, power in zip(alphas, powers, strict=True):
        yield istft(spectrum * (power / total), window, length) / alpha


def _power(spectrum: NDArray[np.complexfloating]) -> Signals:
    power: Signals = np.square(spectrum.real) + np.square(spectrum.imag)
    return power
