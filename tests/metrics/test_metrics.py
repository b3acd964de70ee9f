"""Metrics against museval itself, against closed forms and at their edges."""

from __future__ import annotations

import itertools
import math
import re
import shutil
import warnings
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from sepcli.metrics.assignment import best_permutation
from sepcli.metrics.audio import sdr, si_sdr, si_sdr_improvement, usdr
from sepcli.metrics.images import psnr, ssim
from sepcli.metrics.statistics import bootstrap_ci, median_over_windows

Array = NDArray[np.float64]
RATE = 1000


@pytest.fixture(scope="module")
def museval() -> ModuleType:
    if shutil.which("ffmpeg") is None:
        pytest.skip("museval needs ffmpeg on PATH")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        return pytest.importorskip("museval")


def _by_museval(museval: ModuleType, reference: Array, estimate: Array, window: int, hop: int) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval's successors deprecate what it uses
        return np.asarray(museval.evaluate(reference, estimate, win=window, hop=hop)[0])


def _material(seed: int, k: int, t: int, c: int, noise: float = 0.5) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal((k, t, c))
    return reference, reference + noise * rng.standard_normal((k, t, c))


@pytest.mark.parametrize(
    ("k", "t", "c", "hop"),
    [
        (2, 3 * RATE, 1, RATE),
        (2, 3 * RATE, 2, RATE),
        (3, 3 * RATE + 999, 1, RATE),  # a partial window at the end
        (2, 2 * RATE + 1, 1, RATE // 2),  # overlapping windows
        (2, RATE, 1, RATE),  # exactly one window
        (2, RATE - 300, 2, RATE),  # shorter than one window
        (1, 2 * RATE, 1, RATE),
    ],
)
def test_sdr_is_musevals(museval: ModuleType, k: int, t: int, c: int, hop: int) -> None:
    reference, estimate = _material(k + t, k, t, c)
    theirs = _by_museval(museval, reference, estimate, RATE, hop)
    ours = sdr(reference, estimate, RATE, hop)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-8, rtol=0)


def test_silent_frames_are_musevals(museval: ModuleType) -> None:
    reference, estimate = _material(3, 2, 5 * RATE, 2)
    reference[0, :RATE] = 0  # a silent reference
    reference[1, RATE : 2 * RATE - 1] = 0  # silent but for its last sample
    estimate[1, 2 * RATE : 3 * RATE] = 0  # a silent estimate
    reference[1, 4 * RATE :, 1] = -reference[1, 4 * RATE :, 0]  # channels that cancel count as silent
    theirs = _by_museval(museval, reference, estimate, RATE, RATE)
    ours = sdr(reference, estimate, RATE)
    np.testing.assert_array_equal(np.isnan(ours[0]), [True, False, True, False, True])
    np.testing.assert_allclose(ours, theirs, atol=1e-8, rtol=0)


def test_opposite_phase_estimates_are_musevals(museval: ModuleType) -> None:
    reference, _ = _material(4, 2, 2 * RATE, 1)
    theirs = _by_museval(museval, reference, -reference, RATE, RATE)
    ours = sdr(reference, -reference, RATE)
    np.testing.assert_allclose(ours, theirs, atol=1e-8, rtol=0)
    np.testing.assert_allclose(ours, -20 * math.log10(2), atol=1e-12)


def test_a_wholly_silent_source_gives_nan_and_a_perfect_estimate_inf() -> None:
    reference, estimate = _material(5, 2, 2 * RATE, 1)
    assert np.isnan(sdr(reference, np.zeros_like(reference), RATE)).all()
    assert np.isposinf(sdr(reference, reference, RATE)).all()
    assert np.isnan(usdr(np.zeros_like(reference), estimate)).all()
    assert np.isnan(si_sdr(reference, np.zeros_like(reference))).all()


def test_what_is_no_number_has_no_figure() -> None:
    reference, estimate = _material(7, 2, 2 * RATE, 1)
    estimate[1, 10] = np.nan
    for metric in (usdr, si_sdr):
        values = metric(reference, estimate)
        assert np.isfinite(values[0]).all()
        assert np.isnan(values[1]).all()
    windows = sdr(reference, estimate, RATE)
    assert np.isfinite(windows[0]).all()
    assert np.isnan(windows[1, 0])


def test_one_source_and_no_samples() -> None:
    reference, estimate = _material(6, 1, 2 * RATE, 2)
    single = sdr(reference[0], estimate[0], RATE)
    np.testing.assert_array_equal(single, sdr(reference, estimate, RATE)[0])
    assert sdr(np.empty((2, 0, 1)), np.empty((2, 0, 1)), RATE).shape == (2, 0)


def test_wrong_shapes_are_refused() -> None:
    reference, estimate = _material(7, 2, 100, 1)
    with pytest.raises(ValueError, match=r"\(2, 99, 1\)"):
        sdr(reference, estimate[:, :-1], RATE)
    with pytest.raises(ValueError, match=r"\(1, 2, 100, 1\)"):
        sdr(reference[None], estimate[None], RATE)
    with pytest.raises(ValueError, match="window"):
        sdr(reference, estimate, 0)
    with pytest.raises(ValueError, match=r"\(99, 1\)"):
        si_sdr_improvement(reference, estimate, reference.sum(0)[:-1])


def test_median_over_windows_leaves_nan_out() -> None:
    values = [[1.0, np.nan, 3.0, 8.0], [np.nan] * 4, [np.inf, 1.0, 2.0, np.nan]]
    np.testing.assert_array_equal(median_over_windows(values), [3.0, np.nan, 2.0])
    np.testing.assert_array_equal(median_over_windows(np.empty((2, 0))), [np.nan, np.nan])


def test_usdr_closed_form() -> None:
    reference = np.ones((2, 10, 1))
    np.testing.assert_allclose(usdr(reference, 0.9 * reference), 20.0)


def test_si_sdr_ignores_scale_and_equals_its_closed_form() -> None:
    reference, estimate = _material(8, 3, 500, 2)
    np.testing.assert_allclose(si_sdr(reference, estimate), si_sdr(reference, -7 * estimate))
    s = np.array([[1.0], [1.0], [0.0], [0.0]])
    n = np.array([[0.0], [0.0], [1.0], [0.0]])  # orthogonal to s
    np.testing.assert_allclose(si_sdr(s, 3 * s + n), 10 * math.log10(18))
    assert si_sdr(s, n) == -np.inf


def test_si_sdr_improvement_of_the_mixture_is_zero() -> None:
    reference, estimate = _material(9, 2, 500, 1)
    mixture = reference.sum(0)
    np.testing.assert_array_equal(
        si_sdr_improvement(reference, np.broadcast_to(mixture, reference.shape), mixture), 0.0
    )
    assert (si_sdr_improvement(reference, estimate, mixture) > 0).all()
    assert np.isnan(si_sdr_improvement([[1.0]], [[2.0]], [[3.0]]))  # inf - inf: one sample fits always


def test_bootstrap_covers_the_mean_and_repeats() -> None:
    values = np.random.default_rng(0).normal(5.0, 1.0, 400)
    low, high = bootstrap_ci(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert bootstrap_ci(values) == (low, high)
    assert bootstrap_ci([*values, np.nan]) == (low, high)


def test_bootstrap_of_too_little_is_nan() -> None:
    for values in ([], [1.0], [1.0, np.inf], [np.nan, 2.0]):
        assert all(math.isnan(end) for end in bootstrap_ci(values))


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6])
def test_best_permutation_is_the_best(k: int) -> None:
    scores = np.random.default_rng(k).standard_normal((k, k))
    best = best_permutation(scores)
    everything = itertools.permutations(range(k))
    assert sum(scores[i, best[i]] for i in range(k)) == pytest.approx(
        max(sum(scores[i, p[i]] for i in range(k)) for p in everything)
    )


def test_best_permutation_with_nan_and_inf() -> None:
    assert best_permutation([[np.nan, 1.0], [1.0, np.nan]]) == (1, 0)
    assert best_permutation(np.where(np.eye(5), np.inf, -np.inf)) == (0, 1, 2, 3, 4)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        best_permutation(np.zeros((2, 3)))


def test_psnr() -> None:
    x = np.zeros((1, 4, 4))
    assert psnr(x, x + 0.1) == pytest.approx(20.0)
    assert psnr(255 * x, x + 25.5, peak=255.0) == pytest.approx(20.0)
    assert psnr(x, x) == math.inf
    for bad in (np.zeros((1, 4, 3)), np.zeros((0,))):
        with pytest.raises(ValueError, match=re.escape(str(bad.shape))):
            psnr(x if bad.size else bad, bad)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_scikit_image(channels: int) -> None:
    skimage = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(channels)
    x = rng.uniform(0, 1, (channels, 11 + channels, 17))
    for y in (np.clip(x + 0.2 * rng.standard_normal(x.shape), 0, 1), 1 - x, np.zeros_like(x), x):
        theirs = skimage.structural_similarity(
            x,
            y,
            data_range=1.0,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert ssim(x, y) == pytest.approx(theirs, abs=1e-6)
        assert ssim(255 * x, 255 * y, peak=255.0) == pytest.approx(theirs, abs=1e-6)
    assert ssim(x, x) == pytest.approx(1.0)


def test_ssim_of_flat_images_is_their_luminance() -> None:
    x, y = np.full((1, 12, 12), 0.5), np.full((1, 12, 12), 0.8)
    expected = (2 * 0.5 * 0.8 + 1e-4) / (0.5**2 + 0.8**2 + 1e-4)
    assert ssim(x, y) == pytest.approx(expected)
    for bad in (np.zeros((12, 12)), np.zeros((1, 10, 12)), np.zeros((0, 12, 12))):
        with pytest.raises(ValueError, match=re.escape(str(bad.shape))):
            ssim(bad, bad)


def test_whole_track_values_follow_their_definitions() -> None:
    rng = np.random.default_rng(0)
    for t in (1, 7, 3000):
        s, n = rng.standard_normal((2, 2, t, 2))
        for s_hat in (s + n, -s + 1e-3 * n, n):  # ordinary, in opposite phase, unrelated
            for k in range(2):
                x, y = s[k].ravel(), s_hat[k].ravel()
                target = (x @ y) / (x @ x) * x
                wanted = 10 * math.log10((target @ target) / ((target - y) @ (target - y)))
                assert si_sdr(s, s_hat)[k] == pytest.approx(wanted, abs=1e-8)
                wanted = 10 * math.log10((x @ x) / ((x - y) @ (x - y)))
                assert usdr(s, s_hat)[k] == pytest.approx(wanted, abs=1e-8)
            improvement = si_sdr_improvement(s, s_hat, s.sum(0))
            by_hand = si_sdr(s, s_hat) - [si_sdr(x, s.sum(0)) for x in s]
            np.testing.assert_allclose(improvement, by_hand, atol=1e-8)


def test_what_is_measured_may_be_read_only() -> None:
    reference, estimate = _material(0, 2, 4 * RATE, 2)
    reference.flags.writeable = estimate.flags.writeable = False
    for values in (
        sdr(reference, estimate, RATE),
        usdr(reference, estimate),
        si_sdr(reference, estimate),
        si_sdr_improvement(reference, estimate, reference[0] + reference[1]),
    ):
        assert np.isfinite(values).all()
