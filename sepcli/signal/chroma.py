"""Colors for a gray image: found small, brought back to full size, with the gray locked. Pure.

The gray of a color image x (3, H, W) is g = Σ_c w_c x_c with Σ_c w_c = 1; what is left, the chroma p_c =
x_c - g, has Σ_c w_c p_c = 0. A prior of small images finds the chroma p of the reduced gray I; the full
gray G says where its edges are. In every window of I the chroma is taken to be affine in the gray,

    p ≈ a I + b,   a = cov(I, p)/(var I + ε)

and with the mean ā of a over all windows that a pixel is in, and ↑ for bilinear interpolation,

    P = ↑ā · G + ↑(p - ā I)

Where p is affine in I, P is the same function of G, as sharp as G is; what no function of the gray explains
is interpolated, not lost, so that at equal size P = p.

Source: He, Sun & Tang 2013 (guided image filtering), equations 5-8; He & Sun 2015 (fast guided filter), for
    coefficients found small and applied at full size. They interpolate the mean of b in place of p - ā I,
    which blurs p by two windows.
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
"""w of red, green and blue: the mean of the channels, as in BASIS; luma (ITU-R BT.601), as in gray files."""
MOST = 8
"""The most pixels that the prior is shown, in multiples of the images that it was trained on."""
RADIUS, EPSILON = 1, 1e-2
"""Windows of (2 RADIUS + 1)² pixels; gray whose variance there is far below EPSILON guides nothing, so that
noise in a flat sky does not end up in its color."""
STRIP = 1 << 17
"""Pixels that are computed at once."""


def gray_of(pixels: Tensor, weights: Sequence[float]) -> Tensor:
    """Σ w_c x_c of images (..., 3, H, W): (..., H, W)."""
    return torch.einsum("...chw,c->...hw", pixels, torch.tensor(list(weights)).to(pixels))


def working_size(height: int, width: int, short: int) -> tuple[int, int]:
    """The size at which a prior colors an image, as nearly as can be of its shape.

    The short side is that of the prior's own images, unless the image is smaller, or so long that there
    would be more than about ``MOST`` · ``short``² pixels.
    """
    limit = MOST * short**2
    scale = min(1.0, short / min(height, width), math.sqrt(limit / (height * width)))
    return min(max(1, round(height * scale)), limit), min(max(1, round(width * scale)), limit)


def reduced(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Means over areas: (C, H, W) to (C, h, w)."""
    return F.adaptive_avg_pool2d(pixels, size)


def locked(gray: Tensor, chroma: Tensor, weights: Sequence[float]) -> Tensor:
    """Colors in [0, 1] of exactly this gray.

    Of the chroma, what would change the gray is taken off all channels alike; where a color leaves [0, 1],
    its chroma is scaled down.

    Args:
        gray: (..., H, W) in [0, 1].
        chroma: (..., 3, H, W), any.
        weights: w, positive, of sum 1.

    Returns:
        (..., 3, H, W), like ``chroma``.
    """
    chroma = chroma - gray_of(chroma, weights)[..., None, :, :]
    gray = gray[..., None, :, :]
    room = torch.where(chroma > 0, 1.0 - gray, gray) / chroma.abs().clamp_min(1e-12)
    return (gray + room.amin(-3, keepdim=True).clamp(max=1.0) * chroma).clamp(0.0, 1.0)


def guide(gray: Tensor, chroma: Tensor, epsilon: float = EPSILON) -> tuple[Tensor, Tensor]:
    """ā and the remainder p - ā I.

    Args:
        gray: I (h, w).
        chroma: p (3, h, w).
        epsilon: ε.

    Returns:
        Each (3, h, w), of the type of ``chroma``.
    """
    i, p = gray.double()[None], chroma.double()
    mean_i, mean_p = _window_mean(i), _window_mean(p)
    variance = (_window_mean(i * i) - mean_i**2).clamp_min(0.0)
    a = (_window_mean(i * p) - mean_i * mean_p) / (variance + epsilon)
    slope = _window_mean(a)
    return slope.to(chroma), (p - slope * i).to(chroma)


def enlarged(gray: Tensor, small: Tensor, chroma: Tensor, weights: Sequence[float]) -> Tensor:
    """Colors of a full-size gray, whose gray they keep; computed in strips.

    Args:
        gray: G (H, W) in [0, 1].
        small: I (h, w), ``gray`` reduced.
        chroma: p (3, h, w), found for ``small``.
        weights: w, positive, of sum 1.

    Returns:
        (3, H, W) in [0, 1], like ``gray``.
    """
    coefficients = torch.cat(guide(small, chroma)).to(gray)
    colors = gray.new_empty((3, *gray.shape))
    for rows, part in stretched(coefficients, (gray.shape[0], gray.shape[1])):
        slope, rest = part.chunk(2)
        colors[:, rows] = locked(gray[rows], slope * gray[rows] + rest, weights)
    return colors


def stretched(values: Tensor, size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Interpolate (C, h, w) bilinearly to (C, H, W), strip by strip.

    Yields:
        Rows and what is in them, (C, rows, W).
    """
    height, width = size
    down = _places(height, values.shape[1], values)
    wide = _between(values, 2, _places(width, values.shape[2], values))
    step = max(1, STRIP // width)
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        yield rows, _between(wide, 1, down[rows])


def hinted(hint: Tensor, alpha: Tensor, small: Tensor, weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Strokes of color on a full-size image → what is known of the colors of the small one.

    Of a stroke, only the chroma counts. A small pixel that a stroke touches has the stroke's chroma, however
    thin the stroke; where several meet, their mean.

    Args:
        hint: (3, H, W) in [0, 1].
        alpha: opacity (H, W) in [0, 1], 0 where there is no stroke.
        small: the reduced gray (h, w).
        weights: w, positive, of sum 1.

    Returns:
        Colors (3, h, w) of the gray ``small``, and how much they are meant (h, w), 0 to 1.
    """
    size = (small.shape[0], small.shape[1])
    inked = reduced(alpha * (hint - gray_of(hint, weights)), size)
    chroma = inked / reduced(alpha[None], size).clamp_min(1e-12)
    return locked(small, chroma, weights), F.adaptive_max_pool2d(alpha[None], size)[0]


def diversity(draws: Tensor) -> float:
    """Mean over all pairs of draws (S, 3, h, w), S ≥ 2, of their root mean squared distance, in 8-bit levels.

    Draws of one gray differ in nothing but chroma.
    """
    return 255.0 * float(F.pdist(draws.double().flatten(1)).mean()) / math.sqrt(draws[0].numel())


def _window_mean(values: Tensor) -> Tensor:
    """Means of (C, h, w) over the windows, of the pixels that there are."""
    return F.avg_pool2d(values, 2 * RADIUS + 1, stride=1, padding=RADIUS, count_include_pad=False)


def _places(count: int, length: int, like: Tensor) -> Tensor:
    """Where the centres of ``count`` pixels fall among the centres of ``length`` of the same span."""
    places = (torch.arange(count, dtype=torch.float64) + 0.5) * (length / count) - 0.5
    return places.clamp(0.0, length - 1.0).to(like.device)


def _between(values: Tensor, axis: int, places: Tensor) -> Tensor:
    """Linear interpolation of (C, h, w) along an axis, at places (n,) in [0, its length - 1]."""
    below = places.floor().long()
    above = (below + 1).clamp(max=values.shape[axis] - 1)
    share = (places - below).to(values).view([-1 if n == axis else 1 for n in range(values.dim())])
    return torch.lerp(values.index_select(axis, below), values.index_select(axis, above), share)
