"""Two rows to compare every result with: no separation at all, and the best ratio mask.

Both take the mixture m = Σ α_k x_k and return estimates of the unweighted sources x_k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from sepcli.evaluation.score import TrackScore, score_track
from sepcli.metrics.tracks import Signals
from sepcli.signal.consistency import fft_size

AVERAGE, ORACLE = "average", "oracle mask"
"""Names of the rows."""
MASK_WINDOW_SECONDS = 2048 / 22050
PART = 64
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
    mixed, sources = torch.from_numpy(mixture).T, torch.from_numpy(references).transpose(1, 2)
    scored = slice(len(stems))
    beside: dict[str, Callable[[], Signals]] = {
        AVERAGE: lambda: average(mixed, weights)[scored].transpose(1, 2).numpy(),
        ORACLE: lambda: oracle_mask(mixed, sources, weights, sample_rate)[scored].transpose(1, 2).numpy(),
    }
    return [
        score
        for row, estimates in {**rows, **beside}.items()
        for score in score_track(
            item, row, stems, references[scored], estimates(), mixture, metrics, sample_rate
        )
    ]


def average(mixture: Tensor, weights: Sequence[float]) -> Tensor:
    """Return mixture / K (C, T) as every source's share, x_k = m / (K α_k), (K, C, T)."""
    return torch.stack([mixture / (len(weights) * weight) for weight in weights])


def oracle_mask(mixture: Tensor, sources: Tensor, weights: Sequence[float], sample_rate: int) -> Tensor:
    """Apply the ideal ratio mask of powers, |α_k X_k|² / Σ_j |α_j X_j|², of the true sources to the mixture.

    Periodic Hann window of 93 ms rounded to a power of two (2,048 samples at 22,050 Hz, 4,096 at 44,100 Hz),
    hop a quarter of it. Channels are masked one by one. The phase is the mixture's, so this bounds what masks
    can do, not separation as such (Vincent, Gribonval & Plumbley 2007, "Oracle estimators").

    The mixture is (C, T) at ``sample_rate`` Hz; sources and estimates are (K, C, T), unweighted.
    """
    n_fft = fft_size(MASK_WINDOW_SECONDS, sample_rate)
    window = torch.hann_window(n_fft, dtype=mixture.dtype, device=mixture.device)
    estimates, length = torch.empty_like(sources), mixture.shape[-1]
    for start in range(0, length, PART * n_fft):
        end = min(length, start + PART * n_fft)
        first, last = max(0, start - n_fft), min(length, end + n_fft)  # all windows that reach into the part
        masked = _masked(mixture[:, first:last], sources[..., first:last], weights, window)
        for k, signal in enumerate(masked):
            estimates[k, :, start:end] = signal[:, start - first : end - first]
    return estimates


def _masked(mixture: Tensor, sources: Tensor, weights: Sequence[float], window: Tensor) -> Iterator[Tensor]:
    """Yield the estimates (C, T) of ``oracle_mask``, source by source."""
    n_fft = window.shape[0]
    powers = [
        torch.view_as_real(_stft(alpha * source, window)).square().sum(-1)
        for alpha, source in zip(weights, sources, strict=True)
    ]
    total = sum(powers, start=torch.full_like(powers[0], torch.finfo(mixture.dtype).tiny))
    spectrum, length = _stft(mixture, window), mixture.shape[-1]
    for alpha, power in zip(weights, powers, strict=True):
        yield torch.istft(spectrum * (power / total), n_fft, n_fft // 4, window=window, length=length) / alpha


def _stft(signal: Tensor, window: Tensor) -> Tensor:
    """(C, T) to (C, F, N); zeros beyond the ends, so that any length will do."""
    n_fft = window.shape[0]
    return torch.stft(signal, n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True)
