"""Products of a step: any number of rows, but few numbers for the library that computes them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepcli.priors.lass import decoding


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_is_that_of_every_row(dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(0)
    weight = torch.randn(24, 32, generator=g).to(dtype)
    for rows in (1, 15, 16, 17, 40):
        x = torch.randn(rows, 32, generator=g).to(dtype)
        expected = x.double() @ weight.double().T
        found = decoding.product(x, weight)
        assert found.shape == (rows, 24)
        torch.testing.assert_close(
            found.double(), expected, rtol=1e-2, atol=0.1 if dtype.itemsize == 2 else 1e-4
        )


@pytest.mark.parametrize(("dtype", "sizes"), [(torch.float32, 100), (torch.bfloat16, 7)])
def test_few_numbers_of_rows_in_bfloat16(
    dtype: torch.dtype, sizes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()

    def linear(x: Tensor, weight: Tensor) -> Tensor:
        seen.add(len(x))
        return x @ weight.T

    monkeypatch.setattr(decoding.F, "linear", linear)
    weight = torch.ones(3, 2, dtype=dtype)
    for rows in range(1, 101):
        assert len(decoding.product(torch.ones(rows, 2, dtype=dtype), weight)) == rows
    assert len(seen) == sizes
