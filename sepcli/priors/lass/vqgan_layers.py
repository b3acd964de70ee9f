"""The layers of VQ-GAN's networks; see ``sepcli.priors.lass.vqgan``."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32
"""Groups of the normalizations."""


def norm(channels: int) -> nn.GroupNorm:
    """Return a normalization of planes of so many channels."""
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)


class Residual(nn.Module):
    """Two normalized convolutions beside a shortcut."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1 = norm(before)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm2 = norm(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        if before != after:
            self.nin_shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, h, w) to (B, after, h, w)."""
        y: Tensor = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return y + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    """Attention of one head among all positions, added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to the same."""
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        return x + self.proj_out(y)  # type: ignore[no-any-return]


class Level(nn.Module):
    """Residual units of one resolution, each followed by attention if the level has it."""

    downsample: Resample
    upsample: Resample

    def __init__(self, before: int, after: int, units: int, attends: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(Residual(before if n == 0 else after, after) for n in range(units))
        self.attn = nn.ModuleList(Attention(after) for _ in range(units if attends else 0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, h, w) to (B, after, h, w)."""
        for n, unit in enumerate(self.block):
            x = unit(x)
            if self.attn:
                x = self.attn[n](x)
        return x


class Middle(nn.Module):
    """Two residual units around attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = (
            Residual(width, width),
            Attention(width),
            Residual(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to the same."""
        y: Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return y


class Resample(nn.Module):
    """A convolution that halves the image, or one after every pixel was doubled."""

    def __init__(self, width: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv = nn.Conv2d(width, width, 3, stride=2 if down else 1, padding=0 if down else 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to half or twice the height and width."""
        x = F.pad(x, (0, 1, 0, 1)) if self.down else F.interpolate(x, scale_factor=2.0, mode="nearest")
        y: Tensor = self.conv(x)
        return y
