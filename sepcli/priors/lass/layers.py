"""Parts that networks of several rooms are built of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INITIAL_STD = 0.06
"""Standard deviation of a token's initial weights where they depend on its code."""


class Residual(nn.Module):
    """x + conv(silu(x)), with a dilated kernel of three taps."""

    def __init__(self, dim: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim, dim, 3, dilation=dilation, padding=dilation)
        nn.init.normal_(self.conv.weight, std=0.5 / (3 * dim) ** 0.5)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, L) to (B, dim, L)."""
        y: Tensor = self.conv(F.silu(x))
        return x + y


def ordered_weights(codebook: Tensor, dim: int) -> Tensor:
    """Return initial weights (V, dim) of V tokens that are near each other where their codes are.

    Similar tokens then share what they learn from the first step on.

    Args:
        codebook: (V, D), a codec's codes; they are mapped by a random matrix from torch's global generator.
        dim: dimensions of the weights.
    """
    codes = codebook.detach().cpu().float()
    scale = INITIAL_STD / codes.square().sum(-1).mean().sqrt().clamp_min(1e-6)
    return scale * codes @ torch.randn(codes.shape[1], dim)
