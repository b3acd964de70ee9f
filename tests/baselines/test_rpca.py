"""Robust PCA: exact recovery on matrices, and the masks."""

from __future__ import annotations

import numpy as np
import pytest
from toy_drums_bass import RATE, hits, phrase, sdr

from sepcli.baselines.rpca import decompose, rpca


@pytest.mark.parametrize("shape", [(60, 40), (40, 60)])
def test_recovers_low_rank_and_sparse_parts(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    low_rank = rng.normal(size=(shape[0], 2)) @ rng.normal(size=(2, shape[1]))
    sparse = np.where(rng.uniform(size=shape) < 0.05, rng.uniform(-5, 5, shape), 0.0)
    found_low, found_sparse = decompose(low_rank + sparse, 1 / np.sqrt(max(shape)), tolerance=1e-7)
    np.testing.assert_allclose(found_low, low_rank, atol=1e-3)
    np.testing.assert_allclose(found_sparse, sparse, atol=1e-3)


def test_parts_sum_to_the_matrix() -> None:
    matrix = np.abs(np.random.default_rng(1).normal(size=(30, 20)))
    low_rank, sparse = decompose(matrix, 0.2)
    assert np.linalg.norm(matrix - low_rank - sparse) <= 1e-5 * np.linalg.norm(matrix)


def test_hits_are_low_rank_and_a_phrase_is_sparse() -> None:
    drums, bass = hits([0.25 * beat for beat in range(24)], 6.0, length=0.1), phrase()
    stems = rpca(drums + bass, RATE)
    assert sdr(drums, stems[0]) > 5
    assert sdr(bass, stems[1]) > 5
