"""Stems that sum to the mixture, from estimates that need not.

Two ways: ``wiener`` shares every time-frequency bin of the mixture among the stems in proportion to the power
of their estimates, ``project`` adds what is missing. Wiener masks keep the mixture's own phase, stereo image
and full band, whatever the rate and the channels of the estimates (Liutkus and Badeau, "Generalized Wiener
filtering with fractional power spectrograms", ICASSP 2015). Where estimates are better than masks made of
them, only what they lack of the mixture, such as its stereo image and upper band, is shared by masks.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

FLOOR = 1e-6
"""Magnitude, relative to the loudest bin, below which estimates say nothing: equal parts there (-120 dB)."""
BAND = 0.7
"""From this fraction of the cutoff on, the informed band speaks for the frequencies above the cutoff."""


def fft_size(seconds: float, sample_rate: int) -> int:
    """Samples of a short-time window of about so many seconds: a power of two, at least 16."""
    return 1 << max(4, round(math.log2(seconds * sample_rate)))


def wiener(
    estimates: Tensor,
    mixture: Tensor,
    *,
    n_fft: int,
    hop: int,
    exponent: float = 2.0,
    cutoff: float = 0.5,
) -> Tensor:
    """Share a mixture among stems by soft masks.

    With X̂ the short-time spectra of the estimates, the mask of stem k is the mean over the draws of |X̂_k|^p
    / Σ_j |X̂_j|^p.

    Args:
        estimates: (S, K, T), S draws of the K stems in one channel, at the mixture's rate.
        mixture: (C, T).
        n_fft: Samples of a short-time window.
        hop: Samples from one to the next, at most n_fft / 2.
        exponent: p; larger is more decided.
        cutoff: In cycles per sample: where the estimates end. Above it a frame's mask is that of the band
            just below.

    Returns:
        (K, C, T), summing over K to the mixture up to rounding; parts where no estimate says anything are
        shared equally.
    """
    window = torch.hann_window(n_fft, dtype=mixture.dtype, device=mixture.device)

    def transform(signal: Tensor) -> Tensor:
        return torch.stft(
            signal, n_fft, hop, window=window, center=True, pad_mode="constant", return_complex=True
        )

    def invert(spectrum: Tensor) -> Tensor:
        return torch.istft(spectrum, n_fft, hop, window=window, center=True, length=mixture.shape[-1])

    mask = torch.zeros((), dtype=mixture.dtype, device=mixture.device)
    for draw in estimates.to(mixture.dtype):
        magnitude = torch.stack([transform(stem).abs() for stem in draw])
        mask = mask + _mask(magnitude, exponent, cutoff) / len(estimates)  # (K, F, N)
    spectrum = transform(mixture)  # (C, F, N)
    return torch.stack([invert(share * spectrum) for share in mask])  # one by one: spectra are large


def completed(estimates: Tensor, kept: Tensor, mixture: Tensor, **masks: Any) -> Tensor:
    """Keep estimates, and share what they lack of the mixture by the masks that they make.

    Args:
        estimates: (S, K, T); see ``wiener``.
        kept: (K, C, T), stems as they sound in the mixture.
        mixture: (C, T).
        **masks: of ``wiener``.

    Returns:
        (K, C, T), summing over K to the mixture up to rounding.
    """
    return kept + wiener(estimates, mixture - kept.sum(dim=0), **masks)


def _mask(magnitude: Tensor, exponent: float, cutoff: float) -> Tensor:
    """Magnitudes (K, F, N) to masks (K, F, N) that sum to one over K."""
    loudest = magnitude.amax()
    if loudest <= 0:
        return torch.full_like(magnitude, 1 / magnitude.shape[0])
    # a power itself may be 0 for all sources
    log_power = exponent * (magnitude / loudest).clamp(min=FLOOR).log()
    mask = log_power.softmax(dim=0)
    last = magnitude.shape[1] - 1  # this bin is half a cycle per sample
    top = max(1, int(2 * cutoff * last))
    if top >= last:
        return mask
    band = log_power[:, min(int(BAND * top), top - 1) : top].logsumexp(dim=1, keepdim=True)  # (K, 1, N)
    above = band.softmax(dim=0).expand(-1, last + 1 - top, -1)
    return torch.cat([mask[:, :top], above], dim=1)


def project(estimates: Tensor, mixture: Tensor, weights: Tensor | None = None) -> Tensor:
    """Move estimates to the nearest stems that sum to the mixture.

    Args:
        estimates: (K, C, T), stems as they sound in the mixture.
        mixture: (C, T).
        weights: (K,), the α_k of m = Σ α_k x_k: the unweighted sources then move as little as possible, and
            stem k takes the share α_k² / Σ α² of what is missing. None shares equally.

    Returns:
        (K, C, T), summing over K to the mixture up to rounding.
    """
    squares = torch.ones_like(estimates[:, 0, 0]) if weights is None else weights.to(estimates) ** 2
    share = (squares / squares.sum())[:, None, None]
    return estimates + share * (mixture - estimates.sum(dim=0))
