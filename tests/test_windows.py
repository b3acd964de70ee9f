"""join(split(x)) = x, for every length, window and overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepcli.windows import Windows


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


def test_every_window_but_a_lone_short_one_is_full_of_signal() -> None:
    windows = Windows(10, 4)
    assert list(windows.starts(25)) == [0, 6, 12, 15]
    assert list(windows.starts(3)) == [0]
    short = next(windows.split(puller(np.ones((1, 3))), 3))
    np.testing.assert_array_equal(short[0], [1, 1, 1] + [0] * 7)


def test_neighbours_fade_smoothly() -> None:
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


@pytest.mark.parametrize(("length", "overlap"), [(10, 10), (10, -1), (0, 0)])
def test_impossible_windows_are_refused(length: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        Windows(length, overlap)
