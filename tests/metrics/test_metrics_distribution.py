"""Fréchet distance and Inception score: closed forms and laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from sepcli.metrics.distribution import Moments, frechet_distance, inception_scores, merged, moments


def gaussian(mean: np.ndarray, covariance: np.ndarray, count: int = 5) -> Moments:
    return Moments(count, np.asarray(mean, float), np.asarray(covariance, float) * (count - 1))


def some(seed: int, count: int = 40, width: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, width)) @ rng.standard_normal((width, width)) + rng.standard_normal(
        width
    )


def test_moments_are_mean_and_covariance() -> None:
    x = some(0)
    found = moments(x.astype(np.float32))
    np.testing.assert_allclose(found.mean, x.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.covariance, np.cov(x, rowvar=False), atol=1e-5)


def test_parts_merge_to_the_whole() -> None:
    x = some(1) + 1e4  # far from 0, where sums of squares would lose everything
    whole, parts = moments(x), merged(merged(moments(x[:3]), moments(x[3:4])), moments(x[4:]))
    assert parts.count == whole.count
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(parts.scatter, whole.scatter, rtol=1e-7, atol=1e-7)


def test_distance_of_gaussians_with_common_axes() -> None:
    """d² = |Δm|² + Σ (σ_a - σ_b)², in whichever axes."""
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    a, b = np.array([1.0, 2.0, 0.0]), np.array([3.0, 0.5, 0.0])
    first = gaussian([1, 0, 0], turn @ np.diag(a**2) @ turn.T)
    second = gaussian([0, 2, 0], turn @ np.diag(b**2) @ turn.T)
    assert frechet_distance(first, second) == pytest.approx(5 + ((a - b) ** 2).sum(), abs=1e-6)


def test_distance_of_any_gaussians() -> None:
    a, b = moments(some(2)), moments(some(3))
    root = sqrtm(a.covariance @ b.covariance).real
    direct = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(direct, rel=1e-8)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-8)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-8)


def test_fewer_images_than_features_have_a_distance() -> None:
    few, many = moments(some(4, 3, 20)), moments(some(4, 200, 20))
    assert 0.0 < frechet_distance(few, many) < np.inf


def test_two_of_the_same_features_are_needed() -> None:
    one = moments(some(0)[:1])
    for wrong in (one, moments(some(0, width=4))):
        with pytest.raises(ValueError, match="features"):
            frechet_distance(moments(some(0)), wrong)
    with pytest.raises(ValueError, match=r"\(3,\)"):
        moments(np.zeros(3))


def test_scores_of_sure_undecided_and_equal_sets() -> None:
    sure = np.eye(5)[np.arange(40) % 5]
    np.testing.assert_allclose(inception_scores(sure, 4), [5.0] * 4)
    np.testing.assert_allclose(inception_scores(np.full((20, 5), 0.2)), np.ones(10))
    np.testing.assert_allclose(inception_scores(np.eye(5)[np.zeros(20, int)]), np.ones(10))


def test_the_score_is_of_mutual_information() -> None:
    """Of a symmetric channel: log 2 - h(0.1)."""
    p = np.array([[0.9, 0.1], [0.1, 0.9]])
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert inception_scores(p, 1)[0] == pytest.approx(2 * np.exp(-entropy))


def test_parts_have_scores_of_their_own() -> None:
    p = np.concatenate([np.eye(4)[np.zeros(8, int)], np.eye(4)[np.arange(8) % 4]])
    np.testing.assert_allclose(inception_scores(p, 2), [1.0, 4.0])
    assert len(inception_scores(p[:3])) == 3
    with pytest.raises(ValueError, match=r"\(0, 3\)"):
        inception_scores(np.zeros((0, 3)))
