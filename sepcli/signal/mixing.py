"""m = A x: how sources become a mixture, and the adjoint that maps a residual back to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.signal.chroma import GRAYS


@dataclass(frozen=True)
class WeightedSum:
    """m = Σ α_k x_k, with the weights α_k."""

    weights: tuple[float, ...]

    def __call__(self, sources: Tensor) -> Tensor:
        """Sources (B, K, *D) to mixtures (B, *D)."""
        return torch.einsum("bk...,k->b...", sources, _like(self.weights, sources))

    def adjoint(self, residual: Tensor) -> Tensor:
        """Aᵀr: residuals (B, *D) to (B, K, *D), so that ⟨A x, r⟩ = ⟨x, Aᵀ r⟩."""
        return torch.einsum("b...,k->bk...", residual, _like(self.weights, residual))


@dataclass(frozen=True)
class ChannelSum:
    """m = Σ w_c x_c over red, green and blue of an image: its gray, the mixture of colorization."""

    weights: tuple[float, ...]

    def __call__(self, sources: Tensor) -> Tensor:
        """One image (B, 1, C, H, W) to its grayscale image (B, 1, H, W)."""
        return torch.einsum("bkc...,c->bk...", sources, _like(self.weights, sources))

    def adjoint(self, residual: Tensor) -> Tensor:
        """Aᵀr: residuals (B, 1, H, W) to (B, 1, C, H, W)."""
        return torch.einsum("bk...,c->bkc...", residual, _like(self.weights, residual))


def ChannelMean() -> ChannelSum:
    """Return the mean of red, green and blue, the gray of BASIS' colorization."""
    return ChannelSum(GRAYS["mean"])


def Luma() -> ChannelSum:
    """Return the luma of ITU-R BT.601, the gray of photographs."""
    return ChannelSum(GRAYS["luma"])


def _like(weights: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(weights, dtype=like.dtype, device=like.device)
