"""Noise levels."""

from __future__ import annotations

import pytest
import torch

from sepcli.errors import UsageError
from sepcli.samplers.schedules import geometric, karras


def test_the_ladder_of_basis() -> None:
    published = [1.0, 0.59948425, 0.35938137, 0.21544347, 0.12915497]
    published += [0.07742637, 0.04641589, 0.02782559, 0.01668101, 0.01]
    assert geometric().tolist() == pytest.approx(published, rel=1e-6)


@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0])
def test_karras_is_even_in_the_root(rho: float) -> None:
    sigmas = karras(80.0, 0.002, 18, rho)
    assert sigmas[[0, -1]].tolist() == pytest.approx([80.0, 0.002])
    steps = (sigmas ** (1 / rho)).diff()
    assert torch.allclose(steps, steps.mean().expand_as(steps))
    assert (sigmas.diff() < 0).all()


def test_even_and_single_levels() -> None:
    assert karras(2.0, 1.0, 3, 1.0).tolist() == pytest.approx([2.0, 1.5, 1.0])
    assert [len(f(2.0, 1.0, 1)) for f in (geometric, karras)] == [1, 1]
    assert karras(2.0, 1.0, 1).item() == pytest.approx(2.0)


@pytest.mark.parametrize("bad", [(1.0, 2.0, 3), (1.0, 0.0, 3), (float("nan"), 0.1, 3), (1.0, 0.1, 0)])
def test_levels_must_fall(bad: tuple[float, float, int]) -> None:
    for schedule in (geometric, karras):
        with pytest.raises(UsageError):
            schedule(*bad)
    with pytest.raises(UsageError, match="rho"):
        karras(1.0, 0.1, 3, 0.0)
