"""Assignment of estimates to sources."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike


def best_permutation(scores: ArrayLike) -> tuple[int, ...]:
    """Assign estimates to sources so that the sum of scores is greatest.

    Exhaustive up to four sources (the first of equals wins), Hungarian above.

    Args:
        scores: (K, K); ``scores[i, j]`` is higher if estimate j fits source i better. NaN is the worst.

    Returns:
        K indices: source i is estimated by ``permutation[i]``.
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
