"""y = A x and its adjoint."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sepcli.signal.mixing import WeightedSum

WEIGHTS = st.lists(st.floats(-2, 2), min_size=1, max_size=4).map(tuple)
SHAPES = st.lists(st.integers(1, 5), min_size=0, max_size=3).map(tuple)


@settings(max_examples=50, deadline=None)
@given(weights=WEIGHTS, batch=st.integers(1, 3), shape=SHAPES, seed=st.integers(0, 2**31))
def test_the_adjoint_is_the_adjoint(
    weights: tuple[float, ...], batch: int, shape: tuple[int, ...], seed: int
) -> None:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, len(weights), *shape, generator=g, dtype=torch.float64)
    r = torch.randn(batch, *shape, generator=g, dtype=torch.float64)
    mixing = WeightedSum(weights)
    assert mixing(x).shape == r.shape
    assert mixing.adjoint(r).shape == x.shape
    torch.testing.assert_close((mixing(x) * r).sum(), (x * mixing.adjoint(r)).sum())


def test_a_mixture_is_the_weighted_sum() -> None:
    x = torch.tensor([[[1.0, 2.0], [10.0, 20.0]]])
    assert WeightedSum((0.5, 2.0))(x).tolist() == [[20.5, 41.0]]
    assert WeightedSum((0.5, 2.0)).adjoint(torch.tensor([[2.0]])).tolist() == [[[1.0], [4.0]]]


def test_the_type_of_the_signals_is_kept() -> None:
    for dtype in (torch.float32, torch.float64):
        assert WeightedSum((0.5, 0.5))(torch.zeros(1, 2, 3, dtype=dtype)).dtype == dtype
