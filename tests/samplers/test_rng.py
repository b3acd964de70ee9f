"""Random streams: one per item."""

from __future__ import annotations

import pytest
import torch

from sepcli.samplers.rng import Rng


@pytest.mark.parametrize("name", ["normal", "gumbel"])
def test_an_item_does_not_depend_on_its_batch(name: str) -> None:
    seeds = [5, -3, 2**63 - 1, 5 + 2**32]
    like = torch.empty(4, 3, 7)
    together, alone = Rng(seeds), Rng(torch.tensor(seeds[1:2]))
    for _ in range(2):
        numbers = getattr(together, name)(like)
        assert torch.equal(getattr(alone, name)(like[1:2])[0], numbers[1])
        assert len(numbers.flatten(1).unique(dim=0)) == 4


def test_moments_shape_and_type() -> None:
    like = torch.empty(2, 50_000, dtype=torch.float64)
    normal, gumbel = Rng([1, 2]).normal(like), Rng([1, 2]).gumbel(like)
    assert normal.dtype == torch.float64
    assert normal.mean(1).abs().max() < 0.03
    assert (normal.var(1) - 1).abs().max() < 0.03
    assert (gumbel.mean(1) - 0.5772).abs().max() < 0.03
    uniform = Rng([1, 2]).uniform(1000, 2)
    assert uniform.shape == (2, 1000, 2)
    assert 0 <= uniform.min() <= uniform.max() < 1


def test_refuses_another_number_of_items() -> None:
    with pytest.raises(ValueError, match="3 items for 2"):
        Rng([1, 2]).normal(torch.empty(3))
