"""Convolutive NMF: its updates, what it recovers, what it makes of hits with a decay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from toy_drums_bass import RATE, hits, sdr, tone

from sepcli.baselines.nmfd import convolve, factorize, nmfd, update

Array = NDArray[np.float64]


def divergence(target: Array, model: Array) -> float:
    """Kullback-Leibler, of magnitudes."""
    logs = target * np.log(np.where(target > 0, target, 1) / model)
    return float((logs - target + model).sum())


def struck(seed: int = 0) -> tuple[Array, Array]:
    """Two patterns (3, 12, 2) of different bins and onsets (2, 40), some of which overlap."""
    rng = np.random.default_rng(seed)
    patterns = np.zeros((3, 12, 2))
    patterns[:, :7, 0] = rng.uniform(0.2, 1.0, (3, 7))
    patterns[:, 5:, 1] = rng.uniform(0.2, 1.0, (3, 7))
    onsets = np.zeros((2, 40))
    onsets[0, [2, 10, 19, 30]] = [1.0, 0.5, 0.8, 0.6]
    onsets[1, [4, 11, 24, 38]] = [0.7, 1.0, 0.9, 0.4]
    return patterns, onsets


def test_the_model_is_a_sum_of_shifted_products() -> None:
    patterns, onsets = struck()
    model = np.zeros((12, 40))
    for k in range(2):
        for bin_ in range(12):
            model[bin_] += np.convolve(onsets[k], patterns[:, bin_, k])[:40]
    np.testing.assert_allclose(convolve(patterns, onsets), model, atol=1e-12)


@pytest.mark.parametrize("frames", [1, 4, 9])
def test_no_update_raises_the_divergence(frames: int) -> None:
    rng = np.random.default_rng(1)
    target = rng.exponential(1.0, (10, 9))
    patterns, onsets = rng.uniform(0.1, 1, (frames, 10, 3)), rng.uniform(0.1, 1, (3, 9))
    costs = []
    for _ in range(60):
        costs.append(divergence(target, convolve(patterns, onsets)))
        patterns, onsets = update(target, patterns, onsets)
    assert np.all(np.diff(costs) <= 1e-9)
    assert costs[-1] < costs[0] / 3


def test_true_factors_stay() -> None:
    patterns, onsets = struck()
    again, strikes = update(convolve(patterns, onsets), patterns, onsets)
    np.testing.assert_allclose(convolve(again, strikes), convolve(patterns, onsets), atol=1e-9)
    np.testing.assert_allclose(again, patterns, atol=1e-9)


def test_what_was_struck_is_recovered() -> None:
    patterns, onsets = struck()
    target = convolve(patterns, onsets)
    rng = np.random.default_rng(0)
    strikes, actual = rng.uniform(0.5, 1.5, (2, 40)), rng.uniform(0.5, 1.5, (3, 12, 2))
    actual *= target.mean(axis=1)[:, None] / 6
    for _ in range(500):
        actual, strikes = update(target, actual, strikes)
    assert divergence(target, convolve(actual, strikes)) < 1e-3 * target.sum()
    parts = [convolve(actual[:, :, [k]], strikes[[k]]) for k in range(2)]
    truth = [convolve(patterns[:, :, [k]], onsets[[k]]) for k in range(2)]
    pairs = min((parts, parts[::-1]), key=lambda order: np.abs(np.subtract(order, truth)).sum())
    for part, own in zip(pairs, truth, strict=True):
        assert np.abs(part - own).sum() < 0.02 * own.sum()


def test_one_frame_is_ordinary_nmf() -> None:
    rng = np.random.default_rng(2)
    target = rng.uniform(0, 1, (6, 2)) @ rng.uniform(0, 1, (2, 20))
    actual, gains = factorize(target, 2, 1, 2000)
    assert divergence(target, actual[0] @ gains) < 1e-4 * target.sum()


def test_hits_and_a_tone() -> None:
    drums, bass = hits([0.3, 0.9, 1.4, 2.1, 2.6], length=0.08), tone()
    stems = nmfd(drums + bass, RATE, iterations=20)
    assert sdr(drums, stems[0]) > sdr(drums, (drums + bass) / 2) + 3
    assert sdr(bass, stems[1]) > sdr(bass, (drums + bass) / 2) + 3
    assert torch.equal(stems, nmfd(drums + bass, RATE, iterations=20))
