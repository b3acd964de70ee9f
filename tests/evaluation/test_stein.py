"""The kernel Stein discrepancy by autograd, and its test on right and wrong samples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.evaluation.stein import stein_discrepancy


def samples(width: float = 1.0, shift: float = 0.0, count: int = 200, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Samples of N(shift, width² S), and the scores of N(0, S) there."""
    std = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    x = width * std * torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)).double() + shift
    return x, -x / std**2


def test_the_value_is_the_definition() -> None:
    x, scores = samples(count=8)
    squared = torch.cdist(x, x).square()
    scale = squared[squared > 0].median()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (1 + (a - b).square().sum() / scale).rsqrt()

    total = torch.zeros((), dtype=torch.float64)
    for i in range(8):
        for j in range(8):
            if i == j:
                continue
            a, b = x[i].clone().requires_grad_(), x[j].clone().requires_grad_()
            k = kernel(a, b)
            by_a, by_b = torch.autograd.grad(k, (a, b), create_graph=True)
            trace = sum(torch.autograd.grad(by_a[d], b, retain_graph=True)[0][d] for d in range(3))
            value = k * scores[i] @ scores[j] + scores[i] @ by_b + scores[j] @ by_a + trace
            total = total + value.detach()
    assert stein_discrepancy(x, scores).value == pytest.approx(float(total) / 56, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_samples_of_the_target_are_accepted(seed: int) -> None:
    assert stein_discrepancy(*samples(seed=seed)).p_value > 0.05


@pytest.mark.parametrize("wrong", [{"width": 0.67}, {"width": 1.5}, {"shift": 0.4}])
def test_others_are_rejected(wrong: dict[str, float]) -> None:
    assert stein_discrepancy(*samples(**wrong, count=600)).p_value < 0.02  # type: ignore[arg-type]


def test_too_few_are_refused() -> None:
    with pytest.raises(UsageError):
        stein_discrepancy(*samples(count=7))
