"""Stored integers sum to the stored mixture, whatever the stems are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepcli.media.pcm_rounding import round_floats, round_integers

BITS = [8, 16, 24, 32]


@given(
    bits=st.sampled_from(BITS),
    sources=st.integers(1, 5),
    seed=st.integers(0, 2**31),
    level=st.sampled_from([0.0, 0.01, 0.9, 1.5, 6.0, 1e6]),
)
def test_the_sum_is_exact_within_full_scale(bits: int, sources: int, seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    integers = rng.integers(low, high, (2, 50), endpoint=True)
    integers[:, :6] = [low, high, 0, -1, low + 1, high - 1]
    stems = rng.normal(size=(sources, 2, 50)) * level
    stored = round_integers(stems, integers / 2.0 ** (bits - 1), bits)
    np.testing.assert_array_equal(stored.sum(axis=0), integers)
    assert low <= stored.min()
    assert stored.max() <= high


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("stem", [1.0, -1.0, 3.0])
def test_full_scale_square_waves_and_antiphase_do_not_wrap(bits: int, stem: float) -> None:
    top = (1 << bits - 1) - 1
    square = np.where(np.arange(100) % 20 < 10, top, -top - 1)[None]
    stems = np.stack([np.full((1, 100), stem), np.full((1, 100), -stem), square / 2.0 ** (bits - 1)])
    stored = round_integers(stems, square / 2.0 ** (bits - 1), bits)
    np.testing.assert_array_equal(stored.sum(axis=0), square)
    assert abs(stored).max() <= top + 1


@given(seed=st.integers(0, 2**31), bits=st.sampled_from(BITS))
def test_stems_that_sum_to_the_mixture_move_by_less_than_one_step(seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    integers = rng.integers(-100, 100, (2, 40))
    share = rng.dirichlet([1, 1, 1], (2, 40)).transpose(2, 0, 1)
    stems = share * integers / 2.0 ** (bits - 1)
    stored = round_integers(stems, integers / 2.0 ** (bits - 1), bits)
    assert np.abs(stored - stems * 2.0 ** (bits - 1)).max() < 1 + 1e-6


def test_the_result_is_the_nearest_one() -> None:
    rng = np.random.default_rng(0)
    grid = np.array(list(itertools.product(range(-128, 128, 1), repeat=2)))
    for _ in range(50):
        target = int(rng.integers(-128, 128))
        stems = rng.uniform(-2, 2, (3, 1, 1))
        stored = round_integers(stems, np.full((1, 1), target / 128), 8)[:, 0, 0]
        third = target - grid.sum(axis=1)
        legal = np.c_[grid, third][(third >= -128) & (third <= 127)]
        best = ((legal - 128 * stems[:, 0, 0]) ** 2).sum(axis=1).min()
        assert ((stored - 128 * stems[:, 0, 0]) ** 2).sum() <= best + 4  # ties and single steps


@pytest.mark.parametrize("bits", BITS)
def test_silence_stays_silence(bits: int) -> None:
    assert not round_integers(np.zeros((3, 2, 10)), np.zeros((2, 10)), bits).any()


def test_without_a_mixture_stems_are_rounded_and_clipped() -> None:
    stored = round_integers(np.array([[[0.5, 2.0, -2.0]]]), None, 16)
    np.testing.assert_array_equal(stored, [[[16384, 32767, -32768]]])


@given(seed=st.integers(0, 2**31), level=st.sampled_from([1e-6, 1.0, 100.0]))
def test_float_stems_sum_within_one_ulp(seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    mixture = rng.normal(size=(2, 50)).astype(np.float32).astype(np.float64)
    stems = rng.normal(size=(3, 2, 50)) * level
    stored = round_floats(stems, mixture, "FLOAT")
    np.testing.assert_array_equal(stored, stored.astype(np.float32))
    error = np.abs(stored.sum(axis=0) - mixture)
    assert (error <= np.spacing(np.abs(stored[-1]).astype(np.float32))).all()
    np.testing.assert_array_equal(round_floats(stems, None, "DOUBLE"), stems)
