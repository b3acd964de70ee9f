"""RefineNet with conditional instance normalisation, the network of noise-conditional score networks.

Four stages go down: the first at full size, the second halved; the third and the fourth stay there and look
further by dilated convolutions. Four refinements come back up, each of which fuses a stage with what the
coarser ones found. Every normalisation scales and shifts by a row of a table, which is how a condition (a
noise level, a class) is told:

    y = γ (z + α m) + β,   z = (x - mean(x))/std(x) per channel,   m = mean(x), standardised over the channels

The plain instance norm z forgets how bright a channel was; α m gives it back. Sizes need not be even.

Source: Song & Ermon 2019, appendix A (this arrangement, "CondInstanceNorm++"); Lin et al. 2017 (RefineNet).
    Only the names of the weights are ours: checkpoints of the authors' code fit once they are renamed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DILATIONS = (1, 1, 2, 4)
"""Of the convolutions of every stage."""
EPSILON = 1e-5
"""Added to variances."""


class InstanceNormPlus(nn.Module):
    """The normalisation of the module's docstring; float32 whatever autocast says."""

    def __init__(self, channels: int, conditions: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(conditions, 3 * channels)  # γ, α, β
        nn.init.normal_(self.embed.weight, 1.0, 0.02)
        nn.init.zeros_(self.embed.weight[:, 2 * channels :])

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """(N, C, H, W) and the condition of each item (N,) int64 to (N, C, H, W), float32."""
        with torch.autocast(x.device.type, enabled=False):
            gamma, alpha, beta = self.embed(rows)[..., None, None].chunk(3, dim=1)
            variance, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0, keepdim=True)
            spread, centre = torch.var_mean(mean, dim=1, correction=1, keepdim=True)
            kept = (mean - centre) * (spread + EPSILON).rsqrt()
            out: Tensor = gamma * ((x - mean) * (variance + EPSILON).rsqrt() + alpha * kept) + beta
            return out


class Residual(nn.Module):
    """Two convolutions beside a short cut; the first block of a lower stage may halve the resolution.

    Args:
        inner: channels before.
        outer: channels after.
        conditions: rows of the normalisations.
        dilation: of the convolutions.
        opens: whether it begins a lower stage: its short cut is a convolution, and without dilation it
            halves height and width.
    """

    def __init__(
        self, inner: int, outer: int, conditions: int, dilation: int = 1, opens: bool = False
    ) -> None:
        super().__init__()
        self.halves = opens and dilation == 1
        self.norm1, self.conv1 = InstanceNormPlus(inner, conditions), conv3(inner, inner, dilation)
        self.norm2, self.conv2 = InstanceNormPlus(inner, conditions), conv3(inner, outer, dilation)
        self.skip: nn.Module = nn.Identity()
        if opens:
            self.skip = nn.Conv2d(inner, outer, 1) if self.halves else conv3(inner, outer, dilation)

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """(N, inner, H, W) to (N, outer, H, W), or half that size, rounded up."""
        h = self.conv1(F.elu(self.norm1(x, rows)))
        h = self.conv2(F.elu(self.norm2(h, rows)))
        out: Tensor = self.skip(x) + h
        return F.avg_pool2d(out, 2, ceil_mode=True) if self.halves else out


class ResidualUnits(nn.Module):
    """Blocks of two convolutions, each block beside an identity."""

    def __init__(self, channels: int, blocks: int, conditions: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(InstanceNormPlus(channels, conditions) for _ in range(2 * blocks))
        self.convs = nn.ModuleList(conv3(channels, channels, bias=False) for _ in range(2 * blocks))

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        for first in range(0, len(self.convs), 2):
            h = x
            for n in (first, first + 1):
                h = self.convs[n](F.elu(self.norms[n](h, rows)))
            x = x + h
        return x


class Fusion(nn.Module):
    """Inputs of several resolutions, brought to one size and number of channels, and added."""

    def __init__(self, inner: Sequence[int], outer: int, conditions: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(InstanceNormPlus(channels, conditions) for channels in inner)
        self.convs = nn.ModuleList(conv3(channels, outer) for channels in inner)

    def forward(self, xs: Sequence[Tensor], rows: Tensor) -> Tensor:
        """(N, C_i, H_i, W_i), the finest first, to (N, outer, H_0, W_0)."""
        size = xs[0].shape[2:]
        parts = [
            F.interpolate(conv(norm(x, rows)), size, mode="bilinear", align_corners=True)
            for x, norm, conv in zip(xs, self.norms, self.convs, strict=True)
        ]
        return torch.stack(parts).sum(0)


class ChainedPooling(nn.Module):
    """Two pools of 5×5, one after the other, each added to what came before: context from further away."""

    def __init__(self, channels: int, conditions: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(InstanceNormPlus(channels, conditions) for _ in range(2))
        self.convs = nn.ModuleList(conv3(channels, channels, bias=False) for _ in range(2))

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        x = path = F.elu(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            path = conv(F.avg_pool2d(norm(path, rows), 5, stride=1, padding=2))
            x = x + path
        return x


class Refinement(nn.Module):
    """One step of the way up: adapt every input, fuse them, pool, and adapt the result.

    Args:
        inner: channels of the inputs, the finest first.
        outer: channels after.
        conditions: rows of the normalisations.
        blocks: of the last adaptation.
    """

    def __init__(self, inner: Sequence[int], outer: int, conditions: int, blocks: int = 1) -> None:
        super().__init__()
        self.adapt = nn.ModuleList(ResidualUnits(channels, 2, conditions) for channels in inner)
        self.fuse = Fusion(inner, outer, conditions) if len(inner) > 1 else None
        self.pool = ChainedPooling(outer, conditions)
        self.out = ResidualUnits(outer, blocks, conditions)

    def forward(self, xs: Sequence[Tensor], rows: Tensor) -> Tensor:
        """(N, C_i, H_i, W_i), the finest first, to (N, outer, H_0, W_0)."""
        adapted = [adapt(x, rows) for adapt, x in zip(self.adapt, xs, strict=True)]
        fused = adapted[0] if self.fuse is None else self.fuse(adapted, rows)
        out: Tensor = self.out(self.pool(fused, rows), rows)
        return out


class RefineNet(nn.Module):
    """Images (N, C, H, W) of any size, under one of ``conditions``, to the same shape.

    Args:
        channels: C.
        width: channels at full size; the lower stages have twice as many.
        conditions: rows of the normalisations.
    """

    def __init__(self, channels: int, width: int, conditions: int) -> None:
        super().__init__()
        widths = (width, 2 * width, 2 * width, 2 * width)
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(
            nn.ModuleList(
                [
                    Residual(widths[max(0, n - 1)], widths[n], conditions, DILATIONS[n], opens=n > 0),
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
        """See the class; ``rows`` is the condition of each item (N,) int64."""
        h, kept = self.enter(x), []
        for stage in self.down:
            for block in stage:  # type: ignore[attr-defined]
                h = block(h, rows)
            kept.append(h)
        below: list[Tensor] = []
        for refine in self.up:
            below = [refine([kept.pop(), *below], rows)]
        out: Tensor = self.leave(F.elu(self.norm(below[0], rows)))
        return out


def conv3(inner: int, outer: int, dilation: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution of 3×3 that keeps the size."""
    return nn.Conv2d(inner, outer, 3, padding=dilation, dilation=dilation, bias=bias)
