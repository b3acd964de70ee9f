"""Metrics of audio, as pure functions of arrays; all sums are float64.

Signals have museval's shape (K, T, C): sources, samples, channels; one source may be (T, C). Estimates have
the order and shape of the references. Values are in dB; NaN where there is none, which medians and means
omit; inf where the estimate is perfect. Arrays of other shapes raise ``ValueError``.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

RESOLUTIONS = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))
"""FFT size, hop and window of the multi-resolution STFT distance, in samples; the paper's, at 24 kHz."""
LEAST_MAGNITUDE = 1e-7
SILENCE = 1e-6
"""Power of a source relative to the mixture up to which it counts as silent: -60 dB."""
FRAMES = 1024
"""Frames that are transformed at once."""
START = 64
"""Samples of a window that are looked at first."""


def sdr(reference: ArrayLike, estimate: ArrayLike, window: int, hop: int | None = None) -> Array:
    """Signal-to-distortion ratio per source and window, exactly museval's (BSS Eval v4, image version).

    BSS Eval's 512-tap filters only share the error out among ISR, SIR and SAR; its SDR is
    10 log10(Σs² / Σ(s - ŝ)²) over the samples and channels of a window (Stöter, Liutkus & Ito 2018). As in
    museval, a last partial window is left out, a signal shorter than one window is one window, and a source
    whose channels cancel at every sample of a window counts as silent.

    Args:
        reference: (K, T, C) or (T, C).
        estimate: likewise.
        window: samples per window; museval's setting is one second.
        hop: samples from window to window; ``window`` if None.

    Returns:
        (K, W), or (W,) for a single source; NaN in windows in which any reference or estimate is silent.
    """
    s, s_hat = _checked(reference, estimate)
    hop = window if hop is None else hop
    if window < 1 or hop < 1:
        raise ValueError(f"window and hop must be positive, not {window} and {hop}")
    if s.ndim > 3:
        raise ValueError(f"need (K, T, C) or (T, C), not {s.shape}")
    single = s.ndim == 2
    if single:
        s, s_hat = s[None], s_hat[None]
    length = s.shape[1]
    count = (length - window + hop) // hop if window < length else min(length, 1)
    values = np.full((s.shape[0], count), np.nan)
    for w in range(count):
        part = slice(w * hop, min(w * hop + window, length))
        x, x_hat = s[:, part].astype(np.float64), s_hat[:, part].astype(np.float64)
        if not (_any_silent(x) or _any_silent(x_hat)):
            values[:, w] = _decibels(x, x - x_hat)
    return values[0] if single else values


def usdr(reference: ArrayLike, estimate: ArrayLike) -> Array:
    """Whole-track SDR, "uSDR": 10 log10(Σs² / Σ(s - ŝ)²) over samples and channels (Mitsufuji et al. 2022).

    From (..., T, C) to (...); NaN where the reference is silent.
    """
    s, s_hat = _as_pair(reference, estimate)
    return _decibels(s, s - s_hat)


def si_sdr(reference: ArrayLike, estimate: ArrayLike) -> Array:
    """Scale-invariant SDR: 10 log10(‖a s‖² / ‖a s - ŝ‖²) with a = ⟨ŝ, s⟩/‖s‖² (Le Roux et al. 2019).

    From (..., T, C) to (...): samples and channels together are one vector, whose mean is kept. NaN where the
    reference or the estimate is silent.
    """
    s, s_hat = _as_pair(reference, estimate)
    energy = np.sum(s * s, axis=(-2, -1), keepdims=True)
    scale = np.sum(s * s_hat, axis=(-2, -1), keepdims=True) / np.where(energy == 0, 1.0, energy)
    target = scale * s
    values = _decibels(target, target - s_hat, silent=-np.inf)
    silent = (energy[..., 0, 0] == 0) | ~np.any(s_hat, axis=(-2, -1))
    return np.asarray(np.where(silent, np.nan, values))


def si_sdr_improvement(reference: ArrayLike, estimate: ArrayLike, mixture: ArrayLike) -> Array:
    """SI-SDR of estimates (..., T, C) minus that of the mixture (T, C) as the estimate of every source.

    NaN also where both are infinite.
    """
    s = np.asarray(reference, dtype=np.float64)
    m = np.asarray(mixture, dtype=np.float64)
    if s.shape[-2:] != m.shape:
        raise ValueError(f"the mixture {m.shape} has not the shape of a source {s.shape[-2:]}")
    with np.errstate(invalid="ignore"):  # of infinite values of the same sign: NaN
        return np.asarray(si_sdr(s, estimate) - si_sdr(s, np.broadcast_to(m, s.shape)))


def si_sar(references: ArrayLike, estimates: ArrayLike) -> Array:
    """Scale-invariant signal-to-artifacts ratio (Le Roux et al. 2019).

    An estimate ŝ_k is a_k s_k, plus interference in the span of all references, plus artifacts, which are
    orthogonal to them: 10 log10(‖a_k s_k‖² / ‖ŝ_k - P ŝ_k‖²) with P the projection on the span.

    From (K, T, C) to (K,): samples and channels together are one vector. NaN where the reference or the
    estimate is silent; inf without artifacts, as of the mixture itself.
    """
    s, s_hat = _checked(references, estimates)
    if s.ndim != 3:
        raise ValueError(f"need (K, T, C), not {s.shape}")
    basis = s.reshape(len(s), -1).astype(np.float64)
    gram = basis @ basis.T
    values = np.full(len(s), np.nan)
    for k, estimate in enumerate(s_hat.reshape(len(s), -1).astype(np.float64)):
        if gram[k, k] == 0 or not estimate.any():
            continue
        products = basis @ estimate
        target = products[k] ** 2 / gram[k, k]
        shares, *_ = np.linalg.lstsq(gram, products, rcond=None)
        error = estimate - shares @ basis
        artifacts = float(error @ error)
        with np.errstate(divide="ignore"):
            values[k] = 10 * np.log10(target / artifacts) if artifacts else np.inf
    return values


def energy_at_silence(references: ArrayLike, estimates: ArrayLike, mixture: ArrayLike, window: int) -> Array:
    """Level of what is estimated while a source is silent, relative to the mixture.

    10 log10(Σŝ²/Σm²), "predicted energy at silence", in windows in which the reference is 60 dB or more below
    the mixture; at least -120 dB.

    Args:
        references: (K, T, C).
        estimates: likewise.
        mixture: (T, C).
        window: samples per window; a last partial one is left out, a shorter signal is one window.

    Returns:
        (K, W); NaN where the reference is not silent, or the mixture is.

    Source: Schulze-Forster et al. 2019, whose values are not relative to the mixture.
    """
    s, s_hat = _checked(references, estimates)
    m = np.asarray(mixture)
    if s.ndim != 3 or s.shape[1:] != m.shape:
        raise ValueError(f"need (K, T, C) and (T, C), not {s.shape} and {m.shape}")
    window = min(window, s.shape[1])
    values = np.full((len(s), s.shape[1] // max(window, 1)), np.nan)
    for w in range(values.shape[1]):
        part = slice(w * window, (w + 1) * window)
        power = np.square(m[part], dtype=np.float64).sum()
        if not power:
            continue
        true, estimated = (
            np.square(x[:, part], dtype=np.float64).sum(axis=(1, 2)) / power for x in (s, s_hat)
        )
        values[:, w] = np.where(true <= SILENCE, 10 * np.log10(np.maximum(estimated, 1e-12)), np.nan)
    return values


def mrstft(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Multi-resolution STFT distance (Yamamoto, Song & Kim 2020, Parallel WaveGAN): 0 for equal signals.

    The mean over the ``RESOLUTIONS`` of ‖ |S| - |Ŝ| ‖ / ‖ |S| ‖ (spectral convergence) plus the mean of
    |log |S| - log |Ŝ||, with magnitudes of 1e-7 at least; the mean over channels.

    From (T, C) to one number; NaN where the reference is silent.
    """
    s, s_hat = _checked(reference, estimate)
    if s.ndim != 2:
        raise ValueError(f"need (T, C), not {s.shape}")
    if not s.any():
        return float("nan")
    channels = [k for k in range(s.shape[1]) if s[:, k].any()]
    each = [_distance(s[:, k], s_hat[:, k], *sizes) for k in channels for sizes in RESOLUTIONS]
    return float(np.mean(each))


def _distance(s: NDArray[Any], s_hat: NDArray[Any], size: int, hop: int, length: int) -> float:
    """The distance at one resolution: FFT size, hop and length of the Hann window."""
    padded = [np.pad(x, (size // 2, size)) for x in (s, s_hat)]
    window = np.pad(np.hanning(length), (size - length) // 2)
    starts = np.arange(0, len(s) + 1, hop)
    apart = energy = logs = 0.0
    for first in range(0, len(starts), FRAMES):
        index = starts[first : first + FRAMES, None] + np.arange(size)
        a, b = (np.maximum(np.abs(np.fft.rfft(x[index] * window)), LEAST_MAGNITUDE) for x in padded)
        apart, energy = apart + float(np.sum((a - b) ** 2)), energy + float(np.sum(a**2))
        logs += float(np.abs(np.log(a / b)).sum())
    return float(np.sqrt(apart / energy)) + logs / (len(starts) * (size // 2 + 1))


def _as_pair(reference: ArrayLike, estimate: ArrayLike) -> tuple[Array, Array]:
    s, s_hat = _checked(reference, estimate)
    return s.astype(np.float64), s_hat.astype(np.float64)


def _checked(reference: ArrayLike, estimate: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    s, s_hat = np.asarray(reference), np.asarray(estimate)
    if s.shape != s_hat.shape or s.ndim < 2:
        raise ValueError(f"need equal shapes (..., T, C), not {s.shape} and {s_hat.shape}")
    return s, s_hat


def _any_silent(sources: Array) -> bool:
    """museval's rule for (K, T, C): the channels of some source sum to zero at every sample."""
    for part in (sources[:, :START], sources):  # few windows begin in silence
        total = reduce(np.add, np.moveaxis(part, -1, 0))  # np.sum over so short an axis is slow
        if total.any(axis=-1).all():
            return False
    return True


def _decibels(signal: Array, error: Array, silent: float = np.nan) -> Array:
    """10 log10 of the energy ratio over the last two axes; inf without error, ``silent`` without signal."""
    num: Any = np.sum(signal * signal, axis=(-2, -1))
    den: Any = np.sum(error * error, axis=(-2, -1))
    ratio = np.where((num > 0) & (den > 0), num, 1.0) / np.where((num > 0) & (den > 0), den, 1.0)
    ratio = np.where(np.isnan(num) | np.isnan(den), np.nan, ratio)
    return np.asarray(np.where(num == 0, silent, np.where(den == 0, np.inf, 10 * np.log10(ratio))))
