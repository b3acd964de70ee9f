"""Layers over frames whose channels lie side by side, (B, N, W): what networks of sound are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FrameNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each frame, in float32 whatever autocast says."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, W) to the same, float32."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class FrameConv(nn.Conv1d):
    """A convolution over frames whose channels lie side by side: one product of matrices, which CPUs do
    fastest. It keeps the length.

    Args:
        inner: channels of the input.
        outer: channels of the output.
        taps: frames that are seen, odd.
        dilation: frames from one to the next.
    """

    def __init__(self, inner: int, outer: int, taps: int = 1, dilation: int = 1) -> None:
        super().__init__(inner, outer, taps, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, inner) to (B, N, outer)."""
        (taps,), (dilation,) = self.kernel_size, self.dilation
        if taps > 1:
            reach, length = taps // 2 * dilation, x.shape[1]
            padded = F.pad(x, (0, 0, reach, reach))
            x = torch.cat([padded[:, n * dilation : n * dilation + length] for n in range(taps)], dim=-1)
        return F.linear(x, self.weight.mT.flatten(1), self.bias)


class Block(nn.Module):
    """A convolution over time and one over channels, beside a short cut; scaled and shifted by the embedding.

    Args:
        width: W.
        embedding: E.
        dilation: frames between the three taps.
    """

    def __init__(self, width: int, embedding: int, dilation: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = FrameNorm(width), FrameNorm(width)
        self.conv1 = FrameConv(width, width, 3, dilation)
        self.conv2 = FrameConv(width, width)
        self.tell = nn.Linear(embedding, 2 * width)
        for parameter in (*self.conv2.parameters(), *self.tell.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(B, N, W) and the embedding (B, E) to (B, N, W)."""
        scale, shift = self.tell(told)[:, None].chunk(2, dim=-1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = F.silu(self.norm2(h) * (1 + scale) + shift)
        out: Tensor = x + self.conv2(h)
        return out


def over_noise(above: Tensor) -> Tensor:
    """arsinh of x/σ, of any shape: of order one where there is little but noise, and where there is much."""
    size = above.abs()
    return (size + (size.square() + 1.0).sqrt()).log().copysign(above)  # CPUs are slow at torch's own
