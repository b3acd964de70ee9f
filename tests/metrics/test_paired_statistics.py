"""The signed-rank test and Holm's adjustment, against closed forms and published examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sepcli.metrics.statistics import holm, signed_rank


def test_all_of_one_sign_has_the_least_p_value() -> None:
    assert signed_rank(np.arange(1.0, 11.0)) == pytest.approx(2 / 2**10)
    assert signed_rank(-np.arange(1.0, 11.0)) == pytest.approx(2 / 2**10)


def test_darwin_s_maize() -> None:
    """Fisher 1935, table 3: heights of 15 pairs of plants in eighths of an inch; ranks of Wilcoxon 1945."""
    apart = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    ranks = np.argsort(np.argsort(np.abs(apart))) + 1
    assert ranks[np.array(apart) < 0].sum() == 24  # 14 + 10 of 120
    assert signed_rank(apart) == pytest.approx(0.0413, abs=1e-4)


def test_zeros_and_values_without_a_number() -> None:
    assert signed_rank([0.0, 0.0]) == 1.0
    assert math.isnan(signed_rank([math.nan]))
    assert signed_rank([1.0, 2.0, 0.0, math.nan, 3.0]) == signed_rank([1.0, 2.0, 3.0]) == pytest.approx(0.25)
    assert signed_rank([1.0, -2.0, math.inf]) == signed_rank([1.0, -2.0, 9.0])


def test_holm_by_hand() -> None:
    adjusted = holm([0.01, 0.04, math.nan, 0.03, 0.005])
    np.testing.assert_allclose(adjusted, [0.03, 0.06, math.nan, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([]).size == 0
