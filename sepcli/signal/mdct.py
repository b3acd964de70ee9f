"""The modified discrete cosine transform: an orthogonal change of basis from a signal to bands × frames.

With the hop M, which is the number of bands and half the length of the sine window w, a coefficient is

    X[k, b] = √(2/M) Σ_n w[n] x[b M - M/2 + n] cos(π/M (n + ½ + M/2)(k + ½))        n = 0 … 2M - 1

The aliasing of neighboring frames cancels (w[n]² + w[n + M]² = 1), so that the frames, which overlap by
half, are orthonormal. The first and the last frame do not extend beyond the signal: their window is a step at
its end. The transform is therefore a square orthogonal matrix: it preserves norms, its adjoint is its
inverse, and white noise stays white.

It is computed in two orthogonal steps: a rotation of every pair of samples that mirror each other at a border
between frames, and a cosine basis inside each frame.

Source: Princen & Bradley 1986; Malvar 1992, "Signal Processing with Lapped Transforms" (the rotations).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_COSINES: dict[int, Tensor] = {}
"""Hop → basis, float64: a cache that torch.compile can trace, unlike functools.cache."""


def mdct(signal: Tensor, hop: int) -> Tensor:
    """Return the coefficients (..., M, N), N = ⌈T/M⌉, of signals (..., T), T ≥ 1, padded with zeros.

    The M bands are of equal width, in ascending order.

    Raises:
        ValueError: the hop M is odd.
    """
    basis = _basis(hop, signal)
    padded = F.pad(signal, (0, -signal.shape[-1] % hop))
    frames = _rotate(padded.reshape(*padded.shape[:-1], -1, hop), 1.0)
    return (frames @ basis).mT


def imdct(coefficients: Tensor, length: int) -> Tensor:
    """Return signals (..., length), length ≤ M N, of coefficients (..., M, N): the inverse and adjoint."""
    frames = coefficients.mT @ _basis(coefficients.shape[-2], coefficients).mT
    return _rotate(frames, -1.0).flatten(-2)[..., :length]


def _basis(hop: int, like: Tensor) -> Tensor:
    """Return the orthogonal cosine basis of one frame, (samples, bands)."""
    if hop % 2:
        raise ValueError(f"the hop is {hop}, not an even number")
    if hop not in _COSINES:
        n, k = torch.arange(hop, dtype=torch.float64), torch.arange(hop, dtype=torch.float64)
        angles = torch.outer(n + 0.5 + hop, k + 0.5) * (math.pi / hop)
        _COSINES[hop] = angles.cos() * math.sqrt(2.0 / hop)
    return _COSINES[hop].to(like)


def _rotate(frames: Tensor, sign: float) -> Tensor:
    """Rotate the pairs of samples around the borders of frames (..., N, M) by the angles of the window."""
    hop = frames.shape[-1]
    half = hop // 2
    angles = (torch.arange(half, dtype=torch.float64) + half + 0.5) * (math.pi / (2 * hop))
    c, s = angles.sin().to(frames), sign * angles.cos().to(frames)
    before, after = frames[..., :-1, half:].flip(-1), frames[..., 1:, :half]  # outwards from each border
    left, right = c * before + s * after, c * after - s * before
    first, last = frames[..., :1, :half], frames[..., -1:, half:]
    starts, ends = torch.cat([first, right], dim=-2), torch.cat([left.flip(-1), last], dim=-2)
    return torch.cat([starts, ends], dim=-1)
