"""The bootstrap interval of the Fréchet distance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sepcli.metrics.distribution import frechet_distance, frechet_interval, moments

RNG = np.random.default_rng(0)
ORIGINALS = moments(RNG.standard_normal((4000, 2)))


def test_it_holds_the_distance_and_narrows_with_the_set() -> None:
    widths = []
    for count in (100, 1600):
        values = 0.5 + RNG.standard_normal((count, 2))
        low, high = frechet_interval(values, ORIGINALS)
        assert low < frechet_distance(moments(values), ORIGINALS) < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4.0, rel=0.5)


def test_its_width_is_that_of_chance() -> None:
    sets = [1 + RNG.standard_normal((200, 2)) for _ in range(100)]
    spread = np.std([frechet_distance(moments(values), ORIGINALS) for values in sets])
    widths = [np.subtract(*frechet_interval(values, ORIGINALS)[::-1]) for values in sets[:10]]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * spread, rel=0.25)


def test_images_of_an_item_are_drawn_together() -> None:
    items = 1 + RNG.standard_normal((100, 1, 2))
    twins = np.repeat(items, 4, axis=1).reshape(-1, 2)
    wide, narrow = (np.subtract(*frechet_interval(twins, ORIGINALS, group)[::-1]) for group in (4, 1))
    assert wide / narrow == pytest.approx(2.0, rel=0.3)


def test_one_item_has_none_and_seeds_repeat() -> None:
    assert all(map(math.isnan, frechet_interval(np.zeros((2, 2)), ORIGINALS, 2)))
    values = RNG.standard_normal((50, 2))
    assert frechet_interval(values, ORIGINALS, seed=1) == frechet_interval(values, ORIGINALS, seed=1)
    assert frechet_interval(values, ORIGINALS, seed=1) != frechet_interval(values, ORIGINALS, seed=2)
