"""Toy waves: periods, shapes, levels, mixtures, and that a seed says it all."""

from __future__ import annotations

import numpy as np
import pytest

from sepcli.datasets.waves import LENGTH, SHAPES, SIZES, ToyWaves
from sepcli.errors import UsageError


def test_pitches_are_those_of_the_piano() -> None:
    waves = ToyWaves()
    assert waves.periods.shape == (4, 5000)
    assert waves.periods.max() <= 14700 // (440 * 2 ** ((0.1 - 49) / 12))
    assert waves.periods.min() == 14700 // (440 * 2 ** ((64.9 - 49) / 12)) == 13
    keys = 49 + 12 * np.log2(14700 / waves.periods / 440)  # up to the rounding of periods
    assert np.median(keys) == pytest.approx(32.5, abs=0.7)
    assert np.quantile(keys, 0.25) == pytest.approx(16.3, abs=0.7)
    assert ((waves.phases >= 0) & (waves.phases < waves.periods)).all()
    assert waves.amplitudes.min() >= 0.8
    assert 0.99 < waves.amplitudes.max() < 1


@pytest.mark.parametrize("name", SHAPES)
def test_waves_repeat_after_a_whole_number_of_samples(name: str) -> None:
    waves = ToyWaves((name,), "test")
    for n in range(5):
        (x,), period = waves.item(n), waves.periods[0, n]
        assert len(x) == LENGTH
        assert np.array_equal(x[period:], x[:-period])
        smaller = [d for d in range(1, period) if np.array_equal(x[d : d + period], x[:period])]
        assert smaller == []
        assert np.abs(x).max() <= np.float32(waves.amplitudes[0, n])
        assert np.abs(x).max() == pytest.approx(waves.amplitudes[0, n], rel=0.2)


def test_shapes_have_the_power_and_the_values_of_theirs() -> None:
    u = np.arange(1000) / 1000
    power = {name: float(np.square(shape(u)).mean()) for name, shape in SHAPES.items()}
    expected = {"sine": 1 / 2, "square": 1.0, "sawtooth": 1 / 3, "triangle": 1 / 3}
    assert power == pytest.approx(expected, rel=1e-3)
    assert set(SHAPES["square"](u)) == {-1.0, 1.0}
    for name in ("sawtooth", "triangle"):
        steps = np.unique(np.round(np.diff(SHAPES[name](u)), 9))
        assert len(steps) == (1 if name == "sawtooth" else 2)
    assert all(abs(float(shape(u).mean())) < 2e-3 for shape in SHAPES.values())


def test_items_are_those_of_the_seed() -> None:
    first, again = ToyWaves(seed=3), ToyWaves(("triangle", "sine"), seed=3)
    assert np.array_equal(first.item(7, 100)[[3, 0]], again.item(7, 100))
    assert not np.array_equal(first.item(7, 100), ToyWaves(seed=4).item(7, 100))
    assert not np.array_equal(first.item(7, 100), ToyWaves(split="test", seed=3).item(7, 100))
    assert (len(first), len(ToyWaves(split="test"))) == (SIZES["train"], SIZES["test"])


def test_chunks_are_parts_of_items() -> None:
    waves = ToyWaves(("sawtooth", "sine"), "test")
    chunks = waves.sample(np.random.default_rng(0), 40, 1200)
    assert (chunks.shape, chunks.dtype) == ((40, 2, 1200), np.float32)
    assert np.array_equal(chunks, waves.sample(np.random.default_rng(0), 40, 1200))
    starts = chunks[:, 0, 0]
    assert len(np.unique(starts)) > 30
    for saw in chunks[:5, 0]:
        jumps = np.flatnonzero(np.diff(saw) < 0)
        assert len(set(np.diff(jumps).tolist())) == 1
        assert int(np.diff(jumps)[0]) in waves.periods[0]


def test_what_is_refused() -> None:
    for names in (("organ",), ("sine", "organ"), ()):
        with pytest.raises(UsageError, match="organ" if names else None):
            ToyWaves(names)
    with pytest.raises(UsageError, match=str(LENGTH + 1)):
        ToyWaves(("sine",)).sample(np.random.default_rng(0), 1, LENGTH + 1)
