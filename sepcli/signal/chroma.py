"""Chroma of color images: computed at low resolution, upsampled along the edges of the gray image.

The gray of a color image x (3, H, W) is g = Σ_c w_c x_c with Σ_c w_c = 1; the remainder, the chroma
p_c = x_c - g, has Σ_c w_c p_c = 0. A prior of small images yields the chroma p of the downsampled gray I; the
full gray G has the edges. In every window of I the chroma is modelled as affine in the gray,

    p ≈ a I + b,   a = cov(I, p)/(var I + ε)

and with ā, the mean of a over all windows that contain a pixel, and ↑ for bilinear interpolation,

    P = ↑ā · G + ↑(p - ā I)

Where p is affine in I, P is the same function of G and as sharp as G. The part of p that no function of the
gray explains is interpolated, not lost, so that P = p at equal size.

Source: He, Sun & Tang 2013 (guided image filtering), equations 5-8; He & Sun 2015 (fast guided filter), for
    coefficients computed at low resolution and applied at full size. They interpolate the mean of b instead
    of p - ā I, which blurs p by two windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

GRAYS: Mapping[str, tuple[float, float, float]] = {
    "mean": (1 / 3, 1 / 3, 1 / 3),
    "luma": (0.299, 0.587, 0.114),
}
"""Name → w of red, green, blue: the channel mean, as in BASIS; luma (ITU-R BT.601), as in gray files."""
MAX_AREA = 8
"""Upper bound of the pixels passed to the prior, in multiples of the area of its training images."""
RADIUS, EPSILON = 1, 1e-2
"""Windows of (2 RADIUS + 1)² pixels; regularization. Gray with a variance far below EPSILON does not guide,
so that noise in a flat sky does not appear in its color."""
STRIP = 1 << 17
"""Pixels that are processed at once."""


def gray_of(pixels: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the gray Σ w_c x_c (..., H, W) of images (..., 3, H, W)."""
    return torch.einsum("...chw,c->...hw", pixels, torch.tensor(list(weights)).to(pixels))


def working_size(height: int, width: int, short: int) -> tuple[int, int]:
    """Return the height and width at which an image is colorized, with its aspect ratio up to rounding.

    The shorter side is ``short``, that of the prior's training images, unless the image is smaller, or so
    elongated that it would have more than about ``MAX_AREA`` · ``short``² pixels.
    """
    limit = MAX_AREA * short**2
    scale = min(1.0, short / min(height, width), math.sqrt(limit / (height * width)))
    return min(max(1, round(height * scale)), limit), min(max(1, round(width * scale)), limit)


def reduced(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Downsample (C, H, W) to (C, h, w) by means over areas."""
    return F.adaptive_avg_pool2d(pixels, size)


def locked(gray: Tensor, chroma: Tensor, weights: Sequence[float]) -> Tensor:
    """Return colors (..., 3, H, W) in [0, 1] whose gray is exactly the given one (..., H, W) in [0, 1].

    The gray of the chroma (..., 3, H, W) is subtracted from all channels; where a color is outside [0, 1],
    its chroma is scaled down. The weights w are positive, of sum 1.
    """
    chroma = chroma - gray_of(chroma, weights)[..., None, :, :]
    gray = gray[..., None, :, :]
    headroom = torch.where(chroma > 0, 1.0 - gray, gray) / chroma.abs().clamp_min(1e-12)
    return (gray + headroom.amin(-3, keepdim=True).clamp(max=1.0) * chroma).clamp(0.0, 1.0)


def guide(gray: Tensor, chroma: Tensor, epsilon: float = EPSILON) -> tuple[Tensor, Tensor]:
    """Return ā and the remainder p - ā I, each (3, h, w), for I (h, w) and p (3, h, w)."""
    i, p = gray.double()[None], chroma.double()
    mean_i, mean_p = _window_mean(i), _window_mean(p)
    variance = (_window_mean(i * i) - mean_i**2).clamp_min(0.0)
    a = (_window_mean(i * p) - mean_i * mean_p) / (variance + epsilon)
    slope = _window_mean(a)
    return slope.to(chroma), (p - slope * i).to(chroma)


def enlarged(
    gray: Tensor, small: Tensor, chroma: Tensor, weights: Sequence[float], epsilon: float = EPSILON
) -> Tensor:
    """Colorize a full-size gray image by the chroma of its downsampled version; computed in strips.

    Args:
        gray: G (H, W) in [0, 1].
        small: I (h, w), ``gray`` downsampled.
        chroma: p (3, h, w), the chroma of ``small``.
        weights: w, positive, of sum 1.
        epsilon: ε.

    Returns:
        (3, H, W) in [0, 1], whose gray is ``gray``, and of its type.
    """
    coefficients = torch.cat(guide(small, chroma, epsilon)).to(gray)
    colors = gray.new_empty((3, *gray.shape))
    for rows, part in stretched(coefficients, (gray.shape[0], gray.shape[1])):
        slope, remainder = part.chunk(2)
        colors[:, rows] = locked(gray[rows], slope * gray[rows] + remainder, weights)
    return colors


def stretched(values: Tensor, size: tuple[int, int], strip: int = STRIP) -> Iterator[tuple[slice, Tensor]]:
    """Interpolate (C, h, w) bilinearly to (C, H, W); yield slices of rows, and their values (C, rows, W)."""
    height, width = size
    rows_at = _positions(height, values.shape[1], values)
    wide = _interpolate(values, 2, _positions(width, values.shape[2], values))
    step = max(1, strip // width)
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        yield rows, _interpolate(wide, 1, rows_at[rows])


def hinted(hint: Tensor, alpha: Tensor, small: Tensor, weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Convert strokes of color (3, H, W), opacity (H, W), on an image to those of the downsampled image.

    Only the chroma of a stroke is used. A small pixel that a stroke touches gets the chroma of the stroke,
    however thin; several strokes are averaged. The colors (3, h, w) have the gray ``small`` (h, w).
    """
    size = (small.shape[0], small.shape[1])
    weighted = reduced(alpha * (hint - gray_of(hint, weights)), size)
    chroma = weighted / reduced(alpha[None], size).clamp_min(1e-12)
    return locked(small, chroma, weights), F.adaptive_max_pool2d(alpha[None], size)[0]


def diversity(samples: Tensor) -> float:
    """Return the mean root mean squared distance of all pairs of samples (S, 3, h, w), S ≥ 2, in 8-bit
    levels; samples for one gray image differ only in chroma."""
    return 255.0 * float(F.pdist(samples.double().flatten(1)).mean()) / math.sqrt(samples[0].numel())


def _window_mean(values: Tensor) -> Tensor:
    """Average (C, h, w) over windows; at the edges over the pixels inside the image."""
    return F.avg_pool2d(values, 2 * RADIUS + 1, stride=1, padding=RADIUS, count_include_pad=False)


def _positions(count: int, length: int, like: Tensor) -> Tensor:
    """Return the centers of ``count`` pixels on a grid of ``length`` pixels of the same extent."""
    positions = (torch.arange(count, dtype=torch.float64) + 0.5) * (length / count) - 0.5
    return positions.clamp(0.0, length - 1.0).to(like.device)


def _interpolate(values: Tensor, axis: int, positions: Tensor) -> Tensor:
    """Interpolate linearly along an axis at positions (n,) in [0, its length - 1]."""
    below = positions.floor().long()
    above = (below + 1).clamp(max=values.shape[axis] - 1)
    fraction = (positions - below).to(values).view([-1 if n == axis else 1 for n in range(values.dim())])
    return torch.lerp(values.index_select(axis, below), values.index_select(axis, above), fraction)
