"""Rounding of stems to stored samples such that the stored stems sum to the stored mixture exactly.

For integers, with q the stored stems, s the stems, m the stored mixture and b bits::

    q = argmin Σ_k (q_k - s_k)²   subject to   Σ_k q_k = m,   -2^(b-1) <= q_k <= 2^(b-1) - 1,   q_k integer

A feasible q always exists, e.g. (m, 0, …, 0). Without clipping it is the largest-remainder rounding of
s + (m - Σ s) / K; where a stem would clip, the shift common to all stems is determined by bisection (the
projection onto the intersection of box and hyperplane).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def round_integers(stems: NDArray[np.float64], mixture: NDArray[np.float64] | None, bits: int) -> Integers:
    """Round stems to integers that sum to the rounded mixture.

    Args:
        stems: (K, C, T), full scale is 1; values outside are allowed.
        mixture: (C, T), full scale is 1; None: stems are rounded and clipped independently.
        bits: per sample, 8 to 32.

    Returns:
        (K, C, T) in [-2^(bits-1), 2^(bits-1) - 1], with sum over K equal to round(mixture · 2^(bits-1)),
        clipped to full scale.
    """
    scale = 2.0 ** (bits - 1)
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    scaled = np.clip(stems, -8.0, 8.0) * scale
    rounded = np.rint(scaled).astype(np.int64)
    if mixture is None:
        return np.clip(rounded, low, high)
    target = np.clip(np.rint(np.clip(mixture, -2.0, 2.0) * scale).astype(np.int64), low, high)
    result = _round_to_sum(rounded, scaled - rounded, target)
    clipped = ((result < low) | (result > high)).any(axis=0)
    if clipped.any():
        result[:, clipped] = _round_in_range(rounded[:, clipped], target[clipped], low, high)
    return result


def round_floats(
    stems: NDArray[np.float64], mixture: NDArray[np.float64] | None, subtype: str
) -> NDArray[np.float64]:
    """Round stems to floating-point samples; the last one is the remainder of the mixture.

    Args:
        stems: (K, C, T).
        mixture: (C, T); None: stems are rounded only.
        subtype: FLOAT (32 bits) or DOUBLE.

    Returns:
        (K, C, T) values of ``subtype``; their sum differs from the mixture by the rounding of the last one.
    """
    dtype = np.float64 if subtype == "DOUBLE" else np.float32
    result = stems.astype(dtype).astype(np.float64)
    if mixture is not None:
        result[-1] = (mixture - result[:-1].sum(axis=0)).astype(dtype)
    return result


def _round_to_sum(rounded: Integers, error: NDArray[np.float64], target: Integers) -> Integers:
    """Distribute target - Σ rounded over the K stems (axis 0); single units go to the largest remainders."""
    count = len(rounded)
    quotient, units = np.divmod(target - rounded.sum(axis=0), count)
    rank = np.argsort(np.argsort(-error, axis=0, kind="stable"), axis=0, kind="stable")
    return np.asarray(rounded + quotient + (rank < units), dtype=np.int64)


def _round_in_range(rounded: Integers, target: Integers, low: int, high: int) -> Integers:
    """Return clip(rounded + shift) (K, N), with the shift per column whose clipped sum is the target (N,)."""
    below, above = low - rounded.max(axis=0), high - rounded.min(axis=0) + 1
    while (above - below > 1).any():  # invariant: the clipped sum at `below` is at most the target
        middle = (below + above) // 2
        feasible = np.clip(rounded + middle, low, high).sum(axis=0) <= target
        below, above = np.where(feasible, middle, below), np.where(feasible, above, middle)
    shifted = rounded + below
    result = np.clip(shifted, low, high)
    below_limit = (shifted >= low) & (shifted < high)  # values that one more unit increases
    units = below_limit & (np.cumsum(below_limit, axis=0) <= target - result.sum(axis=0))
    return np.asarray(result + units, dtype=np.int64)
