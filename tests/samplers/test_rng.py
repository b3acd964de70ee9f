"""Random streams: one per item."""

from __future__ import annotations

import pytest
import torch

from sepcli.samplers.rng import Rng


def test_an_item_does_not_depend_on_its_batch() -> None:
    seeds = [5, -3, 2**63 - 1, 5 + 2**32]
    like = torch.empty(4, 3, 7)
    together, alone = Rng(seeds), Rng(torch.tensor(seeds[1:2]))
    for _ in range(2):
        numbers = together.normal(like)
        assert torch.equal(alone.normal(like[1:2])[0], numbers[1])
        assert len(numbers.flatten(1).unique(dim=0)) == 4


def test_blocks_of_equal_seeds_are_equal() -> None:
    rng = Rng(torch.tensor([[1, 2, 3], [3, 4, 5], [2, 3, 1]]))
    for _ in range(2):
        first, second, third = rng.normal(torch.empty(3, 2, 12))
        assert torch.equal(first[:, 8:], second[:, :4])
        assert torch.equal(first[:, 4:], third[:, :8])
        assert not torch.isclose(first[:, :4], second[:, :4]).any()
    uniform = Rng(torch.tensor([[1, 2], [2, 7]])).uniform(3, 10)
    assert torch.equal(uniform[0, :, 5:], uniform[1, :, :5])


def test_one_block_is_none_and_the_last_may_be_short() -> None:
    like = torch.empty(2, 3, 10)
    assert torch.equal(Rng(torch.tensor([[1], [2]])).normal(like), Rng([1, 2]).normal(like))
    seeds = torch.tensor([[5, 6, 7]])
    whole, short = Rng(seeds).normal(torch.empty(1, 2, 12)), Rng(seeds).normal(like[:1, :2])
    assert torch.equal(whole[..., :10], short)


def test_moments_shape_and_type() -> None:
    like = torch.empty(2, 50_000, dtype=torch.float64)
    normal = Rng([1, 2]).normal(like)
    assert normal.dtype == torch.float64
    assert normal.mean(1).abs().max() < 0.03
    assert (normal.var(1) - 1).abs().max() < 0.03
    uniform = Rng([1, 2]).uniform(1000, 2)
    assert uniform.shape == (2, 1000, 2)
    assert 0 <= uniform.min() <= uniform.max() < 1


def test_refuses_another_number_of_items() -> None:
    with pytest.raises(ValueError, match=r"(?=.*\b3\b)(?=.*\b2\b)"):
        Rng([1, 2]).normal(torch.empty(3))
