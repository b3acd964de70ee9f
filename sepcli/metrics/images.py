"""Metrics of images, as pure functions of arrays; all sums are float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

SSIM_WINDOW = 11
"""Width of SSIM's window in pixels."""


def psnr(reference: ArrayLike, estimate: ArrayLike, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio, 10 log10(peak²/mean squared error), in dB; inf where the two are equal.

    The two have any shape, the same for both; clamp the estimate first if the image is bounded.
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

    Both images are (C, H, W) with H and W of at least 11; values are at most 1, where the two are equal.
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


def residual_rms(mixture: ArrayLike, explained: ArrayLike) -> float:
    """Root mean square over pixels of mixture - explained, two arrays of one shape, in steps of 1/255."""
    difference = np.asarray(mixture, dtype=np.float64) - np.asarray(explained, dtype=np.float64)
    return 255.0 * float(np.sqrt(np.mean(difference**2)))
