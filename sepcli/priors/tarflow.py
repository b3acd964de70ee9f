"""An autoregressive transformer flow (TARFlow): patches are predicted one after the other, in every block.

    z_d = (x_d - μ_d) e^(-a_d),   μ_d and a_d functions of all that comes before x_d       a block
    log p(x) = Σ log N(z; 0, I) - Σ_blocks Σ_d a_d

A block goes through the patches in one order, the next in the opposite one. Inside a block a causal
transformer summarizes the patches before, and a masked network goes through the values of the patch itself,
so that neighbors within a patch need not be independent given the others. The density takes one pass; a
sample takes one pass per patch and block.

What is modelled is x = clean + s ε with a given s. The variance of a value given all before it is at least
s², and the first block predicts what exceeds it: e^(2a) = s² + v². ln s enters every block.

Units: those of the data; densities are in nats. Priors call it in full precision; ``mixed`` is of training.

Source: Zhai et al. 2024 (TARFlow), the blocks; Germain et al. 2015 (MADE), the masked network; iTARFlow
    (arXiv 2604.20041), the noise level at the entry of every block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.priors.causal import CausalTransformer

MAX_LOG = 8.0
"""v of the first block is within e^±8 of the data's standard deviation."""
MAX_LOG_SCALE = 3.0
"""The other blocks scale by e^±3 at most."""
UNITS = 4
"""Hidden units of the masked network per value of a patch."""


class TarFlow(nn.Module):
    """A density of signals (B, C, *D), D = (T,) or (H, W), under noise.

    Args:
        channels: C.
        patch: sides of a patch, equal ones; those of signals are multiples of it.
        width: of the transformers.
        depths: number of layers of each block's transformer; the first block is the data's.
        heads: number of attention heads; twice as many divide the width.
        embedding: E, width of the embedding in the context, which is (B, 1 + E): s, then the embedding.
        reach: number of patches that a layer attends to; 0: all.
        positions: number of patches of every signal, which get learned positions; 0: any number.
        mixed: whether the transformers are trained in bfloat16, where the noise allows it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        channels: int,
        patch: Sequence[int],
        *,
        width: int,
        depths: Sequence[int],
        heads: int,
        embedding: int,
        reach: int = 0,
        positions: int = 0,
        mixed: bool = False,
    ) -> None:
        super().__init__()
        self.patch, self.channels = tuple(patch), channels
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        size = channels * math.prod(patch)
        self.blocks = nn.ModuleList(
            Block(size, CausalTransformer(width, depth, heads, reach), width, embedding, positions, mixed)
            for depth in depths
        )

    def log_prob(self, x: Tensor, context: Tensor) -> Tensor:
        """Return log p (B,) of signals (B, C, *D), in nats, for a context (B, 1 + E)."""
        latents, log_det = self(x, context)
        normal = 0.5 * (latents.square() + math.log(2 * math.pi))
        return cast(Tensor, log_det - normal.flatten(1).sum(1))

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Map signals (B, C, *D) to latents (B, L, P); return the log-determinant (B,), too."""
        tokens, total, (noise, embedding) = self._tokens(x), x.new_zeros(len(x)), _parts(context)
        for number, block in enumerate(self.blocks):
            tokens = _ordered(tokens, number)
            output = block(self._entry(number, tokens, noise), embedding)
            shift, log_scale = self._affine(number, output, noise)
            tokens = _ordered((tokens - shift) * (-log_scale).exp(), number)
            total = total - log_scale.flatten(1).sum(1)
        return tokens, total

    @torch.no_grad()
    def sample(self, like: Tensor, context: Tensor, rng: torch.Generator, temperature: float) -> Tensor:
        """Return signals like ``like``, of latents of standard deviation ``temperature``; rng of the CPU."""
        shape = self._tokens(like).shape
        tokens = temperature * torch.randn(shape, generator=rng).to(like)
        return self.inverse(tokens, context, like)

    @torch.no_grad()
    def inverse(self, latents: Tensor, context: Tensor, like: Tensor) -> Tensor:
        """Return the signals like ``like`` of latents (B, L, P)."""
        for number in reversed(range(len(self.blocks))):
            latents = _ordered(self._inverted(number, _ordered(latents, number), context), number)
        return self._signals(latents, like)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor) -> None:
        """Set the units of the data on noisy signals (B, C, *D)."""
        self.mean.copy_(x.mean())
        excess = (x - self.mean).square().flatten(1).mean(1) - _parts(context)[0].square()
        self.std.copy_(excess.mean().clamp(min=1e-6).sqrt())

    def _inverted(self, number: int, z: Tensor, context: Tensor) -> Tensor:
        """Return the tokens (B, L, P) of a block's latents, in its order."""
        block = cast(Block, self.blocks[number])
        x, caches, (noise, embedding) = torch.zeros_like(z), block.transformer.caches(), _parts(context)
        for n in range(z.shape[1]):
            before = self._entry(number, x[:, n - 1 : n], noise) if n else None
            features = block.step(before, n, embedding, caches)
            for d in range(z.shape[2]):
                output = block.head(features, self._entry(number, x[:, n : n + 1], noise))
                shift, log_scale = (part[:, 0, d] for part in self._affine(number, output, noise))
                x[:, n, d] = z[:, n, d] * log_scale.exp() + shift
        return x

    def _entry(self, number: int, tokens: Tensor, noise: Tensor) -> Tensor:
        """Return what the network of a block is given: tokens of about unit variance."""
        if number:
            return tokens
        return (tokens - self.mean) / (noise.square() + self.std.square()).sqrt()[:, None, None]

    def _affine(self, number: int, output: tuple[Tensor, Tensor], noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and a, each (B, L, P), of the outputs of the network of a block."""
        shift, raw = output
        if number:
            return shift, MAX_LOG_SCALE * (raw / MAX_LOG_SCALE).tanh()
        variance = self.std.square() * (2.0 * MAX_LOG * (raw / MAX_LOG).tanh()).exp()
        return self.mean + self.std * shift, 0.5 * (noise.square()[:, None, None] + variance).log()

    def _tokens(self, x: Tensor) -> Tensor:
        """Return the patches (B, L, P) of signals (B, C, *D)."""
        if x.dim() == 4:
            return F.pixel_unshuffle(x, self.patch[0]).flatten(2).mT
        return x.reshape(len(x), self.channels, -1, self.patch[0]).transpose(1, 2).flatten(2)

    def _signals(self, tokens: Tensor, like: Tensor) -> Tensor:
        """Return the signals like ``like`` of patches (B, L, P)."""
        if like.dim() == 4:
            height, width = (side // self.patch[0] for side in like.shape[2:])
            return F.pixel_shuffle(tokens.mT.reshape(len(like), -1, height, width), self.patch[0])
        return tokens.reshape(*tokens.shape[:2], self.channels, -1).transpose(1, 2).flatten(2)


class Block(nn.Module):
    """The network of a block: shift and raw scale of every value given all that comes before."""

    def __init__(
        self,
        size: int,
        transformer: CausalTransformer,
        width: int,
        embedding: int,
        positions: int,
        mixed: bool,
    ) -> None:
        super().__init__()
        self.mixed = mixed
        self.enter = nn.Linear(size, width)
        self.start = nn.Parameter(torch.zeros(width))
        self.condition = nn.Linear(embedding, width)
        self.positions = nn.Parameter(torch.zeros(positions, width)) if positions else None
        self.transformer = transformer
        self.head = PatchHead(width, size)

    def forward(self, tokens: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Map patches (B, L, P) and a context (B, E) to two tensors like the patches."""
        h = self.enter(tokens[:, :-1])
        h = torch.cat([self.start.to(h).expand(len(h), 1, -1), h], dim=1) + self.condition(context)[:, None]
        if self.positions is not None:
            h = h + self.positions
        with torch.autocast(h.device.type, torch.bfloat16, enabled=self.mixed and self.training):
            features = self.transformer(h)
        output: tuple[Tensor, Tensor] = self.head(features.to(h), tokens)
        return output

    def step(self, before: Tensor | None, number: int, context: Tensor, caches: list[list[Tensor]]) -> Tensor:
        """Return the features (B, 1, W) of patch ``number``, given the one before it (B, 1, P)."""
        h = self.condition(context)[:, None]
        h = h + (self.start if before is None else self.enter(before))
        if self.positions is not None:
            h = h + self.positions[number]
        return self.transformer.step(h, number, caches)


class PatchHead(nn.Module):
    """Shift and raw scale of every value of a patch, given the patches before and the values before it.

    Of the hidden units those of number d see the values before d, and output d sees units up to number d.
    """

    inner: Tensor
    outer: Tensor
    before: Tensor

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        hidden = UNITS * size
        self.enter, self.values = nn.Linear(width, hidden), nn.Linear(size, hidden, bias=False)
        self.direct, self.linear = nn.Linear(width, 2 * size), nn.Linear(size, 2 * size, bias=False)
        self.leave = nn.Linear(hidden, 2 * size, bias=False)
        for layer in (self.direct, self.linear, self.leave):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.direct.bias)
        number = torch.arange(size)
        units, outputs = number.repeat_interleave(UNITS), number.repeat(2)
        self.register_buffer("inner", (units[:, None] > number).float(), False)
        self.register_buffer("outer", (outputs[:, None] >= units).float(), False)
        self.register_buffer("before", (outputs[:, None] > number).float(), False)

    def forward(self, features: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, L, W) and values (B, L, P) to two tensors like the values."""
        hidden = F.gelu(self.enter(features) + F.linear(values, self.values.weight * self.inner))
        output = F.linear(hidden, self.leave.weight * self.outer) + self.direct(features)
        output = output + F.linear(values, self.linear.weight * self.before)
        shift, raw = output.chunk(2, dim=-1)
        return shift, raw


def with_level(noise: Tensor, embedding: Tensor) -> Tensor:
    """Return the context (B, 1 + E) of noise s (B,) and an embedding (B, E)."""
    return torch.cat([noise[:, None], embedding], dim=1)


def _parts(context: Tensor) -> tuple[Tensor, Tensor]:
    """Return noise (B,) and embedding (B, E) of a context."""
    return context[:, 0], context[:, 1:]


def _ordered(tokens: Tensor, number: int) -> Tensor:
    """Return tokens (B, L, P) in the order of a block, or those in its order as they were."""
    return tokens.flip(1, 2) if number % 2 else tokens
