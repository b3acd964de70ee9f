"""Statistics of values: medians over windows, bootstrap intervals of means, and paired tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

CHUNK = 1 << 20
"""Values that are resampled at once, which bounds the memory."""


def median_over_windows(values: ArrayLike) -> Array:
    """Median over the last axis without its NaNs: (..., W) to (...); NaN where no window has a value."""
    v = np.asarray(values, dtype=np.float64)
    medians = np.full(v.shape[:-1], np.nan)
    for index in np.ndindex(medians.shape):
        row = v[index][~np.isnan(v[index])]
        if row.size:
            medians[index] = np.median(row)
    return medians


def bootstrap_ci(
    values: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron 1979).

    Args:
        values: (n,); NaNs are left out.
        level: coverage, between 0 and 1.
        resamples: number of bootstrap means.
        seed: of numpy's default generator.

    Returns:
        Lower and upper end; both NaN when there are fewer than two values or one is infinite.
    """
    v = np.asarray(values, dtype=np.float64).ravel()
    v = v[~np.isnan(v)]
    if v.size < 2 or not np.all(np.isfinite(v)):
        return (float("nan"), float("nan"))
    rng, means = np.random.default_rng(seed), np.empty(resamples)
    step = max(1, CHUNK // v.size)
    for start in range(0, resamples, step):
        part = means[start : start + step]
        part[:] = v[rng.integers(0, v.size, (len(part), v.size))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return (float(low), float(high))


def signed_rank(differences: ArrayLike) -> float:
    """Two-sided p-value of the signed-rank test of paired differences (Wilcoxon 1945).

    Args:
        differences: (n,); NaNs and zeros are left out, infinite ones have the highest ranks. Exact for up to
            50 without ties, else by the normal approximation.

    Returns:
        The p-value; 1 if all differences are zero, NaN without any.
    """
    from scipy.stats import wilcoxon

    d = np.asarray(differences, dtype=np.float64).ravel()
    d = d[~np.isnan(d)]
    if not d.size:
        return float("nan")
    d = d[d != 0]
    if not d.size:
        return 1.0
    finite = np.abs(d[np.isfinite(d)]).max(initial=0.0)
    return float(wilcoxon(np.where(np.isinf(d), np.sign(d) * (2 * finite + 1), d)).pvalue)


def holm(p_values: ArrayLike) -> Array:
    """Adjust p-values (n,) of a family of tests for their number (Holm 1979); NaNs are not counted."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = [k for k in np.argsort(p, kind="stable") if not np.isnan(p[k])]
    least = 0.0
    for rank, k in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * float(p[k])))
        adjusted[k] = least
    return adjusted
