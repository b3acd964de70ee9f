"""Real stems to stored samples, so that the stored stems sum to the stored mixture exactly.

For integers, with q the stored stems, m the stored mixture and b bits::

    q = argmin Σ_k (q_k - s_k)²   subject to   Σ_k q_k = m,   -2^(b-1) <= q_k <= 2^(b-1) - 1,   q_k integer

There always is such a q, because (m, 0, …, 0) is one. Where nothing clips it is the largest-remainder
rounding of s + (m - Σ s) / K; where a stem would clip, the shift common to all stems is found by bisection
(the projection onto {box ∩ hyperplane}).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def quantise(stems: NDArray[np.float64], mixture: NDArray[np.float64] | None, bits: int) -> Integers:
    """Round stems to integers that sum to the rounded mixture.

    Args:
        stems: (K, C, T), full scale is 1; values outside are allowed.
        mixture: (C, T), full scale is 1; None rounds and clips every stem by itself.
        bits: Bits per sample, 8 to 32.

    Returns:
        (K, C, T) int64 in [-2^(bits-1), 2^(bits-1) - 1], with sum over K equal to round(mixture ·
        2^(bits-1)), clipped to full scale.
    """
    scale = 2.0 ** (bits - 1)
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    scaled = np.clip(stems, -8.0, 8.0) * scale
    rounded = np.rint(scaled).astype(np.int64)
    if mixture is None:
        return np.clip(rounded, low, high)
    target = np.clip(np.rint(np.clip(mixture, -2.0, 2.0) * scale).astype(np.int64), low, high)
    result = _share(rounded, scaled - rounded, target)
    clipped = ((result < low) | (result > high)).any(axis=0)
    if clipped.any():
        result[:, clipped] = _fit(rounded[:, clipped], target[clipped], low, high)
    return result


def settle(
    stems: NDArray[np.float64], mixture: NDArray[np.float64] | None, subtype: str
) -> NDArray[np.float64]:
    """Round stems to floating-point samples; the last one takes what the others leave of the mixture.

    Args:
        stems: (K, C, T).
        mixture: (C, T); None only rounds.
        subtype: FLOAT (32 bits) or DOUBLE.

    Returns:
        (K, C, T) float64 values that ``subtype`` represents; their sum differs from the mixture by the
        rounding of the last one.
    """
    dtype = np.float64 if subtype == "DOUBLE" else np.float32
    result = stems.astype(dtype).astype(np.float64)
    if mixture is not None:
        result[-1] = (mixture - result[:-1].sum(axis=0)).astype(dtype)
    return result


def _share(rounded: Integers, error: NDArray[np.float64], target: Integers) -> Integers:
    """Spread target - Σ rounded over the K stems (axis 0), single units first to where rounding took most."""
    count = len(rounded)
    each, units = np.divmod(target - rounded.sum(axis=0), count)
    rank = np.argsort(np.argsort(-error, axis=0, kind="stable"), axis=0, kind="stable")
    return np.asarray(rounded + each + (rank < units), dtype=np.int64)


def _fit(rounded: Integers, target: Integers, low: int, high: int) -> Integers:
    """Clip (rounded + shift), with the shift per column whose clipped sum is the target; (K, N), (N,)."""
    below, above = low - rounded.max(axis=0), high - rounded.min(axis=0) + 1
    while (above - below > 1).any():  # invariant: the clipped sum at `below` is at most the target
        middle = (below + above) // 2
        fits = np.clip(rounded + middle, low, high).sum(axis=0) <= target
        below, above = np.where(fits, middle, below), np.where(fits, above, middle)
    shifted = rounded + below
    result = np.clip(shifted, low, high)
    free = (shifted >= low) & (shifted < high)  # one more unit raises exactly these
    return np.asarray(
        result + (free & (np.cumsum(free, axis=0) <= target - result.sum(axis=0))), dtype=np.int64
    )
