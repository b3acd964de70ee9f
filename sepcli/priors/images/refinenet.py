"""RefineNet with conditional instance normalization, the network of noise-conditional score networks.

The encoder has four stages: the first at full size, the second at half the size; the third and the fourth
keep it and enlarge the receptive field by dilated convolutions. The decoder has four refinements, each of
which fuses a stage with the output of the coarser ones. Every normalization scales and shifts by a row of a
table, which encodes the condition (a noise level, a class):

    y = γ (z + α m) + β,   z = (x - mean(x))/std(x) per channel,   m = mean(x), standardized over the channels

The plain instance norm z discards the mean of a channel; α m restores it. Sizes need not be even.

Source: Song & Ermon 2019, appendix A (this architecture, "CondInstanceNorm++"); Lin et al. 2017 (RefineNet).
    Checkpoints of the authors' code fit after a renaming of their weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DILATIONS = (1, 1, 2, 4)
"""Dilation of the convolutions of every stage."""
EPSILON = 1e-5
"""Added to variances."""


class InstanceNormPlus(nn.Module):
    """The normalization of the module's docstring, in float32 also under autocast."""

    def __init__(self, channels: int, conditions: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(conditions, 3 * channels)  # γ, α, β
        nn.init.normal_(self.embed.weight, 1.0, 0.02)
        nn.init.zeros_(self.embed.weight[:, 2 * channels :])

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Normalize (N, C, H, W) under the condition of each item (N,) int64; float32."""
        with torch.autocast(x.device.type, enabled=False):
            gamma, alpha, beta = self.embed(rows)[..., None, None].chunk(3, dim=1)
            variance, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0, keepdim=True)
            mean_variance, mean_mean = torch.var_mean(mean, dim=1, correction=1, keepdim=True)
            standardized = (mean - mean_mean) * (mean_variance + EPSILON).rsqrt()
            out: Tensor = gamma * ((x - mean) * (variance + EPSILON).rsqrt() + alpha * standardized) + beta
            return out


class Residual(nn.Module):
    """Residual block of two convolutions.

    The ``first`` block of a stage after the first one has a convolution as its skip connection; without
    dilation it halves height and width.
    """

    def __init__(
        self, inner: int, outer: int, conditions: int, dilation: int = 1, first: bool = False
    ) -> None:
        super().__init__()
        self.halves = first and dilation == 1
        self.norm1, self.conv1 = InstanceNormPlus(inner, conditions), conv3(inner, inner, dilation)
        self.norm2, self.conv2 = InstanceNormPlus(inner, conditions), conv3(inner, outer, dilation)
        self.skip: nn.Module = nn.Identity()
        if first:
            self.skip = nn.Conv2d(inner, outer, 1) if self.halves else conv3(inner, outer, dilation)

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Map (N, inner, H, W) to (N, outer, H, W), or half that size, rounded up."""
        h = self.conv1(F.elu(self.norm1(x, rows)))
        h = self.conv2(F.elu(self.norm2(h, rows)))
        out: Tensor = self.skip(x) + h
        return F.avg_pool2d(out, 2, ceil_mode=True) if self.halves else out


class ResidualUnits(nn.Module):
    """Residual blocks of two convolutions."""

    def __init__(self, channels: int, blocks: int, conditions: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(InstanceNormPlus(channels, conditions) for _ in range(2 * blocks))
        self.convs = nn.ModuleList(conv3(channels, channels, bias=False) for _ in range(2 * blocks))

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        for start in range(0, len(self.convs), 2):
            h = x
            for n in (start, start + 1):
                h = self.convs[n](F.elu(self.norms[n](h, rows)))
            x = x + h
        return x


class Fusion(nn.Module):
    """Sum of inputs of several resolutions, converted to one size and number of channels."""

    def __init__(self, inner: Sequence[int], outer: int, conditions: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(InstanceNormPlus(channels, conditions) for channels in inner)
        self.convs = nn.ModuleList(conv3(channels, outer) for channels in inner)

    def forward(self, xs: Sequence[Tensor], rows: Tensor) -> Tensor:
        """Map (N, C_i, H_i, W_i), the finest first, to (N, outer, H_0, W_0)."""
        size = xs[0].shape[2:]
        parts = [
            F.interpolate(conv(norm(x, rows)), size, mode="bilinear", align_corners=True)
            for x, norm, conv in zip(xs, self.norms, self.convs, strict=True)
        ]
        return torch.stack(parts).sum(0)


class ChainedPooling(nn.Module):
    """Two consecutive 5×5 poolings, each added to its input, for context from a larger neighborhood."""

    def __init__(self, channels: int, conditions: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(InstanceNormPlus(channels, conditions) for _ in range(2))
        self.convs = nn.ModuleList(conv3(channels, channels, bias=False) for _ in range(2))

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        x = path = F.elu(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            path = conv(F.avg_pool2d(norm(path, rows), 5, stride=1, padding=2))
            x = x + path
        return x


class Refinement(nn.Module):
    """A decoder step: adapt every input, the finest first, fuse them, pool, and adapt the result."""

    def __init__(self, inner: Sequence[int], outer: int, conditions: int, blocks: int = 1) -> None:
        super().__init__()
        self.adapt = nn.ModuleList(ResidualUnits(channels, 2, conditions) for channels in inner)
        self.fuse = Fusion(inner, outer, conditions) if len(inner) > 1 else None
        self.pool = ChainedPooling(outer, conditions)
        self.out = ResidualUnits(outer, blocks, conditions)

    def forward(self, xs: Sequence[Tensor], rows: Tensor) -> Tensor:
        """Map (N, C_i, H_i, W_i), the finest first, to (N, outer, H_0, W_0)."""
        adapted = [adapt(x, rows) for adapt, x in zip(self.adapt, xs, strict=True)]
        fused = adapted[0] if self.fuse is None else self.fuse(adapted, rows)
        out: Tensor = self.out(self.pool(fused, rows), rows)
        return out


class RefineNet(nn.Module):
    """Network from images (N, C, H, W) of any size and conditions (N,) to the same shape.

    It has ``width`` channels at full size, twice as many at other sizes, and a row of the normalizations for
    each of the ``conditions``.
    """

    def __init__(self, channels: int, width: int, conditions: int) -> None:
        super().__init__()
        widths = (width, 2 * width, 2 * width, 2 * width)
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(
            nn.ModuleList(
                [
                    Residual(widths[max(0, n - 1)], widths[n], conditions, DILATIONS[n], first=n > 0),
                    Residual(widths[n], widths[n], conditions, DILATIONS[n]),
                ]
            )
            for n in range(len(widths))
        )
        self.up = nn.ModuleList(
            [
                Refinement(widths[3:], widths[2], conditions),
                Refinement([widths[2], widths[2]], widths[1], conditions),
                Refinement([widths[1], widths[1]], widths[0], conditions),
                Refinement([widths[0], widths[0]], widths[0], conditions, blocks=3),
            ]
        )
        self.norm = InstanceNormPlus(width, conditions)
        self.leave = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Apply the network; ``rows`` is the condition of each item (N,) int64."""
        h, skips = self.enter(x), []
        for stage in self.down:
            for block in stage:  # type: ignore[attr-defined]
                h = block(h, rows)
            skips.append(h)
        refined: list[Tensor] = []
        for refine in self.up:
            refined = [refine([skips.pop(), *refined], rows)]
        out: Tensor = self.leave(F.elu(self.norm(refined[0], rows)))
        return out


def conv3(inner: int, outer: int, dilation: int = 1, bias: bool = True) -> nn.Conv2d:
    """Return a 3×3 convolution that keeps the size."""
    return nn.Conv2d(inner, outer, 3, padding=dilation, dilation=dilation, bias=bias)
