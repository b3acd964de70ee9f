"""y = A x: how sources become a mixture, and the adjoint that hands a residual back to them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class WeightedSum:
    """m = Σ α_k x_k.

    Attributes:
        weights: the α_k.
    """

    weights: tuple[float, ...]

    def __call__(self, sources: Tensor) -> Tensor:
        """Sources (B, K, *D) to mixtures (B, *D)."""
        return torch.einsum("bk...,k->b...", sources, self._alpha(sources))

    def adjoint(self, residual: Tensor) -> Tensor:
        """Aᵀr: residuals (B, *D) to (B, K, *D), so that ⟨A x, r⟩ = ⟨x, Aᵀ r⟩."""
        return torch.einsum("b...,k->bk...", residual, self._alpha(residual))

    def _alpha(self, like: Tensor) -> Tensor:
        return torch.tensor(self.weights, dtype=like.dtype, device=like.device)
