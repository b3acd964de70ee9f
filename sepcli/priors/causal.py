"""A causal transformer of vectors with rotary positions, the network of autoregressive flows.

Pre-normalized layers of attention and a feed-forward part; a layer may be limited to the last vectors. In
sampling, vectors come one at a time, and every layer caches its keys and values.

Source: Vaswani et al. 2017; Su et al. 2021, "RoFormer".
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MLP = 4
"""Width of the feed-forward part over that of the transformer."""
Cache = list[Tensor]
"""Keys and values of a layer, each (B, heads, L, head width), as far as the layer attends; at first empty."""


class CausalTransformer(nn.Module):
    """Maps vectors (B, L, W) to as many; output n depends on the inputs up to n.

    Args:
        width: W, a multiple of twice the heads.
        depth: number of layers.
        heads: number of attention heads.
        reach: number of vectors, the last one included, that a layer attends to; 0: all.
    """

    def __init__(self, width: int, depth: int, heads: int, reach: int = 0) -> None:
        super().__init__()
        self.reach = reach
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        for layer in self.layers:
            for leave in (cast(Layer, layer).join, cast(Layer, layer).leave):
                nn.init.normal_(leave.weight, std=0.5 / (width * depth) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors (B, L, W)."""
        where = torch.arange(x.shape[1], device=x.device)
        back = where[:, None] - where
        visible = (back >= 0) & (back < self.reach) if self.reach else back >= 0
        rotation = rotary(where, cast(Layer, self.layers[0]).head_width, x.dtype)
        for layer in self.layers:
            x = layer(x, rotation, visible)
        out: Tensor = self.norm(x)
        return out

    def caches(self) -> list[Cache]:
        """Return what ``step`` needs at the first vector."""
        return [[] for _ in self.layers]

    def step(self, x: Tensor, number: int, caches: list[Cache]) -> Tensor:
        """Map vector ``number`` (B, 1, W), after those before it, and update the caches."""
        where = torch.tensor([number], device=x.device)
        rotation = rotary(where, cast(Layer, self.layers[0]).head_width, x.dtype)
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, rotation, None, cache)
            if self.reach and cache[0].shape[2] == self.reach:  # the first is not seen from the next
                cache[:] = [tensor[:, :, 1:] for tensor in cache]
        out: Tensor = self.norm(x)
        return out


class Layer(nn.Module):
    """Attention and a feed-forward part, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, width // heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.join = nn.Linear(width, width, bias=False)
        self.enter = nn.Linear(width, MLP * width)
        self.leave = nn.Linear(MLP * width, width)

    def forward(
        self, x: Tensor, rotation: Tensor, visible: Tensor | None, cache: Cache | None = None
    ) -> Tensor:
        """Map vectors (B, L, W).

        Args:
            x: the vectors.
            rotation: of their positions; see ``rotary``.
            visible: (L, L), whether vector n attends to vector m; None: to all that are cached.
            cache: keys and values of the vectors before; those of x are appended.
        """
        rows = self.query_key_value(self.norms[0](x)).unflatten(2, (3, self.heads, -1))
        query, key, value = rows.permute(2, 0, 3, 1, 4)
        query, key = rotated(query, rotation), rotated(key, rotation)
        if cache is not None:
            if cache:
                key, value = (torch.cat(pair, dim=2) for pair in zip(cache, (key, value), strict=True))
            cache[:] = [key, value]
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        x = x + self.join(seen.transpose(1, 2).flatten(2))
        out: Tensor = x + self.leave(F.gelu(self.enter(self.norms[1](x))))
        return out


def rotary(where: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Return cosines and sines (2, L, width/2) of the angles of positions (L,)."""
    rates = 1e-3 ** (torch.arange(width // 2, device=where.device) / (width // 2))
    angles = where[:, None] * rates
    return torch.stack([angles.cos(), angles.sin()]).to(dtype)


def rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate the pairs of values of vectors (B, heads, L, width) by the angles of their positions."""
    cos, sin = rotation.to(x)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
