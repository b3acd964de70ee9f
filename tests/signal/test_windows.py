"""join(split(x)) = x, for every length, window and overlap."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepcli.signal.windows import Windows


def puller(signal: np.ndarray, sizes: list[int] | None = None):
    position = 0

    def read(count: int) -> np.ndarray:
        nonlocal position
        block = signal[..., position : position + count]
        assert block.shape[-1] == count
        position += count
        if sizes is not None:
            sizes.append(count)
        return block

    return read


geometry = st.integers(1, 40).flatmap(
    lambda length: st.tuples(st.just(length), st.integers(0, length - 1), st.integers(1, 300))
)


@given(geometry)
def test_join_undoes_split_exactly(case: tuple[int, int, int]) -> None:
    length, overlap, total = case
    signal = np.random.default_rng(total).standard_normal((2, total))
    windows = Windows(length, overlap)
    pieces = list(windows.split(puller(signal), total))
    assert len(pieces) == windows.count(total) == len(list(windows.starts(total)))
    assert {piece.shape for piece in pieces} == {(2, length)}
    joined = np.concatenate(list(windows.join(pieces, total)), axis=-1)
    np.testing.assert_array_equal(joined, signal)


@given(geometry)
def test_weights_sum_to_one_and_stay_between(case: tuple[int, int, int]) -> None:
    length, overlap, total = case
    windows = Windows(length, overlap)
    count = windows.count(total)
    weights = []
    for index in range(count):
        pieces = [np.full((1, length), float(i == index)) for i in range(count)]
        weights.append(np.concatenate(list(windows.join(pieces, total)), axis=-1)[0])
    weights = np.array(weights)
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-12)
    assert weights.min() >= 0
    assert weights[0, 0] == 1 or total > length
    if overlap <= length // 2 and total > length:
        assert weights[0, 0] == weights[-1, -1] == 1


gridded = st.integers(2, 12).flatmap(
    lambda length: st.tuples(
        st.just(length),
        st.integers(0, length - 1),
        st.fractions(1, 9, max_denominator=7),
        st.integers(0, 3),
        st.integers(1, 300),
    )
)


@given(gridded)
def test_windows_of_blocks(case: tuple[int, int, Fraction, int, int]) -> None:
    length, overlap, block, guard, total = case
    windows = Windows(length, overlap, block, min(guard, int(overlap * block) // 2))
    signal = np.random.default_rng(total).standard_normal((2, total))
    pieces = list(windows.split(puller(signal), total))
    assert {piece.shape for piece in pieces} == {(2, windows.samples)}
    assert len(pieces) == windows.count(total)
    starts = list(windows.starts(total))
    for index, start in enumerate(starts):
        assert start == int(windows.first_block(index, total) * block)
        beyond = start + windows.samples - total  # zeros, of less than a block and a sample, in the last one
        assert (beyond < 0) == (index < len(starts) - 1) or (index, beyond) == (len(starts) - 1, 0)
        assert beyond < block + 1 or len(starts) == 1
    spoilt = [piece.copy() for piece in pieces]
    for index, piece in enumerate(spoilt):
        piece[:, : windows.guard * (index > 0)] = np.nan
        piece[:, windows.samples - windows.guard * (index < len(pieces) - 1) :] = np.nan
    for same in (pieces, spoilt):
        joined = np.concatenate(list(windows.join(same, total)), axis=-1)
        np.testing.assert_array_equal(joined, signal)


def test_every_window_but_a_lone_short_one_is_full_of_signal() -> None:
    windows = Windows(10, 4)
    assert list(windows.starts(25)) == [0, 6, 12, 15]
    assert list(windows.starts(3)) == [0]
    short = next(windows.split(puller(np.ones((1, 3))), 3))
    np.testing.assert_array_equal(short[0], [1, 1, 1] + [0] * 7)


def test_neighbors_fade_smoothly() -> None:
    windows = Windows(1000, 400)
    joined = np.concatenate(list(windows.join([np.zeros(1000), np.ones(1000)], 1600)), axis=-1)
    assert np.abs(np.diff(joined)).max() < 0.005
    assert (np.diff(joined) >= 0).all()


def test_no_more_than_a_window_is_held() -> None:
    windows, total, sizes = Windows(100, 20), 10**6, []
    read = puller(np.broadcast_to(0.0, (1, total)), sizes)
    blocks = [block.shape[-1] for block in windows.join(windows.split(read, total), total)]
    assert max(sizes) <= 100
    assert max(blocks) <= 100
    assert sum(blocks) == total


def test_guards_that_leave_nothing_to_fade_are_refused() -> None:
    assert Windows(10, 4, guard=2).fade == 0
    for guard in (3, -1):
        with pytest.raises(ValueError, match="guard"):
            Windows(10, 4, guard=guard)


@pytest.mark.parametrize(("length", "overlap"), [(10, 10), (10, -1), (0, 0)])
def test_impossible_windows_are_refused(length: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        Windows(length, overlap)
