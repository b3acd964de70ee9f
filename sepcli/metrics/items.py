"""How close estimates are to the true sources. Pure functions of arrays; all sums are float64.

Signals have museval's shape (K, T, C): sources, samples, channels; one source may be (T, C). Values are in
dB but for SSIM. Frames in which any reference or estimate is silent have no SDR: they are NaN, which medians
and means leave out.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

SSIM_WINDOW = 11
"""Pixels, the width of SSIM's window."""


def sdr(reference: ArrayLike, estimate: ArrayLike, window: int, hop: int | None = None) -> Array:
    """Signal-to-distortion ratio per source and window, exactly museval's (BSS Eval v4, image version).

    BSS Eval's 512-tap filters only share the error out among ISR, SIR and SAR; its SDR is
    10 log10(Σs² / Σ(s - ŝ)²) over the samples and channels of a window (Stöter, Liutkus & Ito 2018). As in
    museval, a last partial window is left out, a signal shorter than one window is one window, and a source
    whose channels cancel at every sample of a window counts as silent.

    Args:
        reference: True sources, (K, T, C) or (T, C).
        estimate: Estimates in the same order, of the same shape.
        window: Samples per window; museval's setting is one second.
        hop: Samples from window to window; ``window`` if None.

    Returns:
        (K, W), or (W,) for a single source; NaN where a source is silent, inf where the estimate is perfect.

    Raises:
        ValueError: if the shapes differ or are not as above, or the window or hop is not positive.
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


def median_over_windows(values: ArrayLike) -> Array:
    """Median over the last axis without its NaNs: (..., W) to (...); NaN where no window has a value."""
    v = np.asarray(values, dtype=np.float64)
    medians = np.full(v.shape[:-1], np.nan)
    for index in np.ndindex(medians.shape):
        row = v[index][~np.isnan(v[index])]
        if row.size:
            medians[index] = np.median(row)
    return medians


def usdr(reference: ArrayLike, estimate: ArrayLike) -> Array:
    """Whole-track SDR, "uSDR": 10 log10(Σs² / Σ(s - ŝ)²) over samples and channels (Mitsufuji et al. 2022).

    Args:
        reference: True sources, (..., T, C).
        estimate: Estimates of the same shape.

    Returns:
        (...); NaN where the reference is silent, inf where the estimate is perfect.

    Raises:
        ValueError: if the shapes differ or have fewer than two axes.
    """
    s, s_hat = _as_pair(reference, estimate)
    return _decibels(s, s - s_hat)


def si_sdr(reference: ArrayLike, estimate: ArrayLike) -> Array:
    """Scale-invariant SDR: 10 log10(‖a s‖² / ‖a s - ŝ‖²) with a = ⟨ŝ, s⟩/‖s‖² (Le Roux et al. 2019).

    The signals' means are kept.

    Args:
        reference: True sources, (..., T, C); samples and channels together are one vector.
        estimate: Estimates of the same shape.

    Returns:
        (...); NaN where the reference or the estimate is silent.

    Raises:
        ValueError: if the shapes differ or have fewer than two axes.
    """
    s, s_hat = _as_pair(reference, estimate)
    energy = np.sum(s * s, axis=(-2, -1), keepdims=True)
    scale = np.sum(s * s_hat, axis=(-2, -1), keepdims=True) / np.where(energy == 0, 1.0, energy)
    target = scale * s
    values = _decibels(target, target - s_hat, silent=-np.inf)
    silent = (energy[..., 0, 0] == 0) | ~np.any(s_hat, axis=(-2, -1))
    return np.asarray(np.where(silent, np.nan, values))


def si_sdr_improvement(reference: ArrayLike, estimate: ArrayLike, mixture: ArrayLike) -> Array:
    """SI-SDR of the estimates minus SI-SDR of the mixture taken as the estimate of every source.

    Args:
        reference: True sources, (..., T, C).
        estimate: Estimates of the same shape.
        mixture: (T, C).

    Returns:
        (...), in dB; NaN also where both are infinite.

    Raises:
        ValueError: if the shapes do not fit.
    """
    s = np.asarray(reference, dtype=np.float64)
    m = np.asarray(mixture, dtype=np.float64)
    if s.shape[-2:] != m.shape:
        raise ValueError(f"the mixture {m.shape} has not the shape of a source {s.shape[-2:]}")
    with np.errstate(invalid="ignore"):  # of infinite values of the same sign: NaN
        return np.asarray(si_sdr(s, estimate) - si_sdr(s, np.broadcast_to(m, s.shape)))


def psnr(reference: ArrayLike, estimate: ArrayLike, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio, 10 log10(peak²/mean squared error), in dB.

    Args:
        reference: True image, of any shape.
        estimate: Estimate of the same shape; clamp it first if the image is bounded.
        peak: Range of the values.

    Returns:
        inf where the two are equal.

    Raises:
        ValueError: if the shapes differ or are empty.
    """
    x, x_hat = np.asarray(reference, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    if x.shape != x_hat.shape or not x.size:
        raise ValueError(f"need equal shapes, not {x.shape} and {x_hat.shape}")
    error = float(np.mean((x - x_hat) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))


def ssim(reference: ArrayLike, estimate: ArrayLike, peak: float = 1.0) -> float:
    """Structural similarity, the mean over the image and its channels.

    The settings of Wang, Bovik, Sheikh & Simoncelli 2004: a Gaussian window of 11 x 11 with σ = 1.5,
    K1 = 0.01, K2 = 0.03, population covariances, and only windows that lie in the image.

    Args:
        reference: True image, (C, H, W).
        estimate: Estimate of the same shape; clamp it first if the image is bounded.
        peak: Range of the values.

    Returns:
        At most 1, where the two are equal.

    Raises:
        ValueError: if the shapes differ, or are not three axes with H and W of at least 11.
    """
    from scipy.ndimage import gaussian_filter

    x, y = np.asarray(reference, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 3 or not x.shape[0] or min(x.shape[1:]) < SSIM_WINDOW:
        raise ValueError(
            f"need equal shapes (C, H, W), {SSIM_WINDOW} or more wide, not {x.shape} and {y.shape}"
        )
    edge = SSIM_WINDOW // 2

    def blur(image: Array) -> Array:
        smooth = gaussian_filter(image, (0.0, 1.5, 1.5), radius=(0, edge, edge))
        return np.asarray(smooth[:, edge : x.shape[1] - edge, edge : x.shape[2] - edge])

    mean_x, mean_y = blur(x), blur(y)
    spread = blur(x * x) - mean_x**2 + blur(y * y) - mean_y**2
    shared = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float(np.mean(luminance * (2 * shared + c2) / (spread + c2)))


def bootstrap_ci(
    values: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron 1979).

    Args:
        values: (n,); NaNs are left out.
        level: Coverage, between 0 and 1.
        resamples: Number of bootstrap means.
        seed: Of numpy's default generator; the same seed gives the same interval.

    Returns:
        Its two ends; both NaN when there are fewer than two values or one is infinite.
    """
    v = np.asarray(values, dtype=np.float64).ravel()
    v = v[~np.isnan(v)]
    if v.size < 2 or not np.all(np.isfinite(v)):
        return (float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    means = np.array([np.mean(v[rng.integers(0, v.size, v.size)]) for _ in range(resamples)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return (float(low), float(high))


def best_permutation(scores: ArrayLike) -> tuple[int, ...]:
    """Which estimate belongs to which source, so that the sum of scores is greatest.

    Exhaustive up to four sources (the first of equals wins), Hungarian above.

    Args:
        scores: (K, K); ``scores[i, j]`` says how well estimate j fits source i. NaN counts as the worst.

    Returns:
        K indices: source i is estimated by ``permutation[i]``.

    Raises:
        ValueError: if the matrix is not square.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise ValueError(f"scores must be square, not {table.shape}")
    table = np.nan_to_num(table, nan=-1e12, posinf=1e12, neginf=-1e12)
    rows = range(table.shape[0])
    if table.shape[0] <= 4:
        return max(itertools.permutations(rows), key=lambda p: sum(float(table[i, p[i]]) for i in rows))
    from scipy.optimize import linear_sum_assignment

    return tuple(int(j) for j in linear_sum_assignment(table, maximize=True)[1])


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
    return bool(np.any(np.all(np.sum(sources, axis=-1) == 0, axis=-1)))


def _decibels(signal: Array, error: Array, silent: float = np.nan) -> Array:
    """10 log10 of the energy ratio over the last two axes; inf without error, ``silent`` without signal.

    What is no number has no ratio: NaN.
    """
    num: Any = np.sum(signal * signal, axis=(-2, -1))
    den: Any = np.sum(error * error, axis=(-2, -1))
    ratio = np.where((num > 0) & (den > 0), num, 1.0) / np.where((num > 0) & (den > 0), den, 1.0)
    ratio = np.where(np.isnan(num) | np.isnan(den), np.nan, ratio)
    return np.asarray(np.where(num == 0, silent, np.where(den == 0, np.inf, 10 * np.log10(ratio))))
