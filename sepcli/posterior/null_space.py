"""The null space of a weighted sum: the directions of K sources that their mixture leaves open."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sepcli.errors import UsageError


class NullSpace:
    """The null space of a weighted sum of K sources.

    Args:
        weights: a, K ≥ 2 finite numbers, not all of them zero.

    Raises:
        UsageError: there are fewer than two weights, all are zero, or one is not finite.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        a = torch.tensor(list(weights), dtype=torch.float64)
        if len(a) < 2 or not torch.isfinite(a).all() or not a.any():
            raise UsageError(
                f"weights {tuple(weights)} are not those of a mixture",
                "use two or more finite weights, at least one of them non-zero",
                argument="weights",
            )
        self._a = a
        self._basis = _complement(a)

    @property
    def free(self) -> int:
        """The number of free coordinates, K-1."""
        return self._basis.shape[1]

    def lift(self, free: Tensor, mixture: Tensor) -> Tensor:
        """Return the sources (B, K, C, *D) at free coordinates z (B, K-1, C, *D) that sum to m (B, C, *D)."""
        fixed = (self._a / self._a.square().sum()).to(mixture)
        return _combine(self._basis, free) + torch.einsum("b...,k->bk...", mixture, fixed)

    def coordinates(self, sources: Tensor) -> Tensor:
        """Return Nᵀ x (B, K-1, C, *D): sources or gradients (B, K, C, *D) in free coordinates."""
        return _combine(self._basis.T, sources)


def _complement(a: Tensor) -> Tensor:
    """Return an orthonormal basis (K, K-1) of the complement of a (K,), by a Householder reflection."""
    v = a / a.norm()
    v[0] += 1.0 if v[0] >= 0 else -1.0
    reflection: Tensor = torch.eye(len(a), dtype=a.dtype) - 2.0 * torch.outer(v, v) / v.square().sum()
    return reflection[:, 1:].contiguous()


def _combine(matrix: Tensor, x: Tensor) -> Tensor:
    """Apply a matrix (J, K) to the sources of x (B, K, C, *D): (B, J, C, *D)."""
    return torch.einsum("jk,bk...->bj...", matrix.to(x), x)
