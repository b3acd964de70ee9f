"""Distances of whole sets of images in the features of a network. Pure; all sums are float64.

Fréchet distance of the Gaussians that have the sets' means and covariances:

    d² = |m_a - m_b|² + tr C_a + tr C_b - 2 tr (C_a^½ C_b C_a^½)^½

Inception score of class probabilities p(y|x): exp of the mean over x of KL(p(y|x) ‖ p(y)), with p(y) their
mean.

FID and Inception score are names for the original Inception network only.

Source: Dowson & Landau 1982; Heusel et al. 2017 (FID); Salimans et al. 2016 (Inception score).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

RESAMPLES = 200
"""Resampled sets for the interval of a distance."""
SPLITS = 10
"""Parts of a set that have an Inception score each."""


@dataclass(frozen=True)
class Moments:
    """Moments of a set of features.

    Attributes:
        count: N.
        mean: (F,).
        scatter: (F, F), the sum of (x - mean)(x - mean)ᵀ.
    """

    count: int
    mean: Array
    scatter: Array

    @property
    def covariance(self) -> Array:
        """(F, F), unbiased; of N ≥ 2."""
        return np.asarray(self.scatter / (self.count - 1))


@dataclass(frozen=True)
class Features:
    """Features of a set of images.

    Attributes:
        moments: of the features.
        classes: (N, Y), probabilities of the classes.
        values: (N, F), the features themselves; None if they are too many.
    """

    moments: Moments
    classes: NDArray[np.float32]
    values: NDArray[np.float32] | None = None


def frechet(features: Features, originals: Moments) -> Array:
    """Fréchet distance of a set to the originals, (1,)."""
    return np.array([frechet_distance(features.moments, originals)])


def class_scores(features: Features, originals: Moments) -> Array:
    """Inception scores of the parts of a set, (S,); parts are chosen at random, with a fixed seed."""
    order = np.random.default_rng(0).permutation(len(features.classes))
    return inception_scores(features.classes[order])


def moments(features: ArrayLike) -> Moments:
    """Compute the moments of features (N ≥ 1, F)."""
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or not x.size:
        raise ValueError(f"need features (N, F), not {x.shape}")
    mean = x.mean(axis=0)
    return Moments(len(x), mean, (x - mean).T @ (x - mean))


def merged(first: Moments, second: Moments) -> Moments:
    """Compute the moments of two sets together (Chan, Golub & LeVeque 1983)."""
    count = first.count + second.count
    apart = second.mean - first.mean
    mean = first.mean + apart * (second.count / count)
    between = np.outer(apart, apart) * (first.count * second.count / count)
    return Moments(count, mean, first.scatter + second.scatter + between)


def frechet_distance(first: Moments, second: Moments) -> float:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians, as FID is computed; at least 0.

    For sets of N ≥ 2 samples it is too large on average, the more so the fewer they are.
    """
    if first.mean.shape != second.mean.shape or min(first.count, second.count) < 2:
        raise ValueError("need two sets, each of two or more, of the same features")
    c_a, c_b = first.covariance, second.covariance
    values, vectors = np.linalg.eigh(c_a)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ c_b @ root), 0.0)).sum()
    apart = first.mean - second.mean
    return max(0.0, float(apart @ apart + np.trace(c_a) + np.trace(c_b) - 2.0 * shared))


def frechet_interval(
    values: ArrayLike,
    originals: Moments,
    group: int = 1,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap interval of the Fréchet distance of a set of features to the originals, which stay the same.

    Groups of images, those of one item, are resampled together. A resampled set has fewer different images,
    which adds to its distance: the distances are shifted so that their mean is the set's, and the interval is
    that of chance in the choice of items; the bias of a set of this size stays in it.

    Args:
        values: (N, F), ``group`` rows per item.
        originals: moments of the others.
        group: rows that are resampled together.
        level: coverage.
        resamples: number of resampled sets.
        seed: of numpy's default generator.

    Returns:
        Lower, at least 0, and upper end; both NaN of fewer than two groups.
    """
    x = np.asarray(values)
    x = x.reshape(-1, group, x.shape[-1])
    if len(x) < 2:
        return (float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    distances = [
        frechet_distance(moments(x[rng.integers(0, len(x), len(x))].reshape(-1, x.shape[-1])), originals)
        for _ in range(resamples)
    ]
    shift = frechet_distance(moments(x.reshape(-1, x.shape[-1])), originals) - float(np.mean(distances))
    low, high = np.quantile(distances, [(1 - level) / 2, (1 + level) / 2]) + shift
    return (max(0.0, float(low)), float(high))


def inception_scores(probabilities: ArrayLike, splits: int = SPLITS) -> Array:
    """Inception scores of parts of a set, in order.

    Args:
        probabilities: (N, Y), rows of sum 1, in random order.
        splits: S, number of parts; N if that is less.

    Returns:
        (S,), each from 1 (all alike, or undecided) to Y.
    """
    p = np.asarray(probabilities)
    if p.ndim != 2 or not p.size:
        raise ValueError(f"need probabilities (N, Y), not {p.shape}")
    count = min(splits, len(p))
    parts = np.split(p, [part * len(p) // count for part in range(1, count)])
    return np.array([_score(part.astype(np.float64)) for part in parts])


def _score(p: Array) -> float:
    mean = p.mean(axis=0)
    ratio = np.log(np.where(p > 0, p, 1.0)) - np.log(np.where(mean > 0, mean, 1.0))
    return float(np.exp((p * ratio).sum(axis=1).mean()))
