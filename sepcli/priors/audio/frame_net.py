"""Layers over frames with the channels last, (B, N, W), for networks of audio."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FrameNorm(nn.LayerNorm):
    """Layer normalization over the channels of each frame, in the input's type, with sums in float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (B, N, W)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


class FrameConv(nn.Conv1d):
    """A convolution over frames with the channels last, as one matrix product, which is fastest on CPUs.

    It keeps the length. The number of taps, its kernel size in frames, is odd.
    """

    def __init__(self, inner: int, outer: int, taps: int = 1, dilation: int = 1) -> None:
        super().__init__(inner, outer, taps, dilation=dilation)
        self._matrix: Tensor | None = None

    def freeze(self, dtype: torch.dtype) -> None:
        """Convert the weights to a matrix once, of a type, instead of at every call: for inference.

        The weights themselves are lost.
        """
        self._matrix = self._laid_out().detach().to(dtype)
        self.weight = nn.Parameter(self.weight.new_empty(0), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, inner) to (B, N, outer)."""
        (taps,), (dilation,) = self.kernel_size, self.dilation
        if taps > 1:
            reach, length = taps // 2 * dilation, x.shape[1]
            padded = F.pad(x, (0, 0, reach, reach))
            x = torch.cat([padded[:, n * dilation : n * dilation + length] for n in range(taps)], dim=-1)
        return F.linear(x, self._laid_out() if self._matrix is None else self._matrix, self.bias)

    def _laid_out(self) -> Tensor:
        return self.weight.mT.flatten(1)


class Block(nn.Module):
    """Residual block: a convolution over time and one over channels, scaled and shifted by the embedding."""

    def __init__(self, width: int, embedding: int, dilation: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = FrameNorm(width), FrameNorm(width)
        self.conv1 = FrameConv(width, width, 3, dilation)
        self.conv2 = FrameConv(width, width)
        self.tell = nn.Linear(embedding, 2 * width)
        for parameter in (*self.conv2.parameters(), *self.tell.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map (B, N, W) and the embedding (B, E) to (B, N, W)."""
        scale, shift = self.tell(embedding)[:, None].chunk(2, dim=-1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = F.silu(self.norm2(h) * (1 + scale) + shift)
        out: Tensor = x + self.conv2(h)
        return out


def arsinh(ratio: Tensor) -> Tensor:
    """Return arsinh(x/σ), of any shape: linear where noise dominates, logarithmic where the signal does."""
    size = ratio.abs()
    return (size + (size.square() + 1.0).sqrt()).log().copysign(ratio)  # torch.asinh is slow on CPUs
