"""Invertible maps of signals with known Jacobians, and what flows are made of.

Under y = f(x) densities change by log p(x) = log p(y) + log |det ∂y/∂x|. A ``Transform`` gives y and that
second term, its log-determinant, per item; ``inverse`` gives x back. All work on time (B, C, T) and on
images (B, C, H, W) alike. A ``MultiScale`` flow chains them and factors half of the channels out after
every scale but the last; all latents are to be N(0, I), so that

    log p(x) = Σ log N(z; 0, I) + Σ log-determinants

Transforms compute in the precision of x whatever autocast says; only the networks inside obey it.

Source: Kingma & Dhariwal 2018 (Glow), table 1; Dinh et al. 2017 (RealNVP) for coupling and scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.signal.mdct import imdct, mdct

LIMIT = 2.0
"""Couplings scale by e^±2 at most: unbounded ones learn to squash, and then their inverse explodes."""
LEAST_STD = 1e-4
"""What ``ActNorm`` takes for the standard deviation of a channel that does not vary."""


class Transform(Protocol):
    """An invertible map; ``context`` is what a flow is conditioned on, None if on nothing.

    It is one (B, E) for the whole signal, or, in time, frames (B, E, F) that are spread evenly over it.
    """

    def __call__(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Signals (B, C, *D) to others, (B, C', *D'), and the log-determinant (B,)."""
        ...

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """The x that became y."""
        ...


class Linear(nn.Linear):
    """A linear layer whose weights are not rounded when stored."""

    exact = True


class ActNorm(nn.Module):
    """y = e^s (x + b) per channel; s and b may be moved by a context, of frames by their mean.

    Args:
        channels: C.
        context: E, the width of the context; 0: there is none.
    """

    exact = True
    """Not to be stored in bfloat16: one scale's error is made at every place of its channel."""

    def __init__(self, channels: int, context: int = 0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.tell = Linear(context, 2 * channels) if context else None
        if self.tell is not None:
            nn.init.zeros_(self.tell.weight)
            nn.init.zeros_(self.tell.bias)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set b and s so that the channels of these data (B, C, *D) get mean 0 and variance 1."""
        rows = x.transpose(0, 1).flatten(1)
        self.bias.copy_(-rows.mean(1))
        self.log_scale.copy_(-rows.std(1, correction=0).clamp(min=LEAST_STD).log())

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Transform``."""
        bias, log_scale = self._parameters_at(x, context)
        spread = log_scale.flatten(1).sum(1) * positions(x)
        return (x + bias) * log_scale.exp(), spread.expand(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """See ``Transform``."""
        bias, log_scale = self._parameters_at(y, context)
        return y * (-log_scale).exp() - bias

    def _parameters_at(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """b and s, (B, C, 1, ...) or (1, C, 1, ...)."""
        both = torch.cat([self.bias, self.log_scale])[None]
        if self.tell is not None:
            whole = context.mean(2) if context is not None and context.dim() == 3 else context
            both = both + self.tell(whole).to(x.dtype)
        bias, log_scale = both.view(*both.shape, *[1] * (x.dim() - 2)).chunk(2, dim=1)
        return bias, log_scale


class Invertible1x1(nn.Module):
    """y = W x at every place, W = P L (U + diag(± e^s)): a learnt mixture of the channels.

    P is the permutation and ± the signs of the random rotation that W starts as; both stay as they are.
    """

    exact = True
    permutation: Tensor
    signs: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels))[0]
        permutation, lower, upper = torch.linalg.lu(rotation)
        self.register_buffer("permutation", permutation)
        self.register_buffer("signs", upper.diagonal().sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(upper.diagonal().abs().log())

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Transform``."""
        with torch.autocast(x.device.type, enabled=False):
            lower, upper = self._triangles()
            y = (self.permutation @ lower @ upper) @ x.flatten(2)
        return y.view_as(x), (self.log_diagonal.sum() * positions(x)).expand(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """See ``Transform``."""
        with torch.autocast(y.device.type, enabled=False):
            lower, upper = self._triangles()
            rows = self.permutation.mT @ y.flatten(2)
            rows = torch.linalg.solve_triangular(lower, rows, upper=False, unitriangular=True)
            x: Tensor = torch.linalg.solve_triangular(upper, rows, upper=True).view_as(y)
        return x

    def _triangles(self) -> tuple[Tensor, Tensor]:
        """L, and U with its diagonal."""
        lower = self.lower.tril(-1) + torch.eye(len(self.signs)).to(self.lower)
        return lower, self.upper.triu(1) + (self.signs * self.log_diagonal.exp()).diag()


class Coupling(nn.Module):
    """The second half of the channels is shifted and scaled by what a network makes of the first.

    y_b = e^s (x_b + t), s = 2 tanh(r/2); without scales y_b = x_b + t (NICE).

    Args:
        net: (first half (B, ⌈C/2⌉, *D), context) → t and r, (B, 2⌊C/2⌋, *D), or t alone if not ``affine``.
        affine: whether there are scales.
    """

    def __init__(self, net: nn.Module, affine: bool = True) -> None:
        super().__init__()
        self.net, self.affine = net, affine

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Transform``."""
        first, second = x.chunk(2, dim=1)
        shift, log_scale = self._asked(first, context)
        y = torch.cat([first, (second + shift) * log_scale.exp()], dim=1)
        return y, log_scale.flatten(1).sum(1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """See ``Transform``."""
        first, second = y.chunk(2, dim=1)
        shift, log_scale = self._asked(first, context)
        return torch.cat([first, second * (-log_scale).exp() - shift], dim=1)

    def _asked(self, first: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        told: Tensor = self.net(first, context).to(first.dtype)
        if not self.affine:
            return told, torch.zeros_like(told)
        shift, raw = told.chunk(2, dim=1)
        return shift, LIMIT * (raw / LIMIT).tanh()


class Squeeze(nn.Module):
    """Neighbours become channels: 2 × 2 pixels, or 2 samples. The sides must be even."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Transform``."""
        nothing = x.new_zeros(len(x))
        if x.dim() == 4:
            return F.pixel_unshuffle(x, 2), nothing
        pairs = x.reshape(*x.shape[:2], -1, 2)
        return pairs.movedim(-1, 2).flatten(1, 2), nothing

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """See ``Transform``."""
        if y.dim() == 4:
            return F.pixel_shuffle(y, 2)
        return y.reshape(len(y), -1, 2, y.shape[-1]).movedim(2, -1).flatten(-2)


class Lapped(nn.Module):
    """The MDCT of sounds (B, C, T): bands become channels, (B, C M, T/M), and frames are places.

    The transform is orthogonal: a square matrix, which inverts exactly.

    Args:
        hop: M, even; it divides T.
    """

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Transform``."""
        with torch.autocast(x.device.type, enabled=False):
            return mdct(x, self.hop).flatten(1, 2), x.new_zeros(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """See ``Transform``."""
        with torch.autocast(y.device.type, enabled=False):
            bands = y.reshape(len(y), -1, self.hop, y.shape[2])
            return imdct(bands, self.hop * y.shape[2])


class Chain(nn.Module):
    """Transforms one after the other."""

    def __init__(self, *transforms: nn.Module) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Transform``."""
        total = x.new_zeros(len(x))
        for transform in self.transforms:
            x, part = transform(x, context)
            total = total + part
        return x, total

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """See ``Transform``."""
        for transform in reversed(list(self.transforms)):
            y = cast(Transform, transform).inverse(y, context)
        return y

    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Set every ``ActNorm`` by data (B, C, *D) as they come to it; returns what leaves the chain."""
        for transform in self.transforms:
            if isinstance(transform, ActNorm):
                transform.initialise(x)
            x = transform(x, context)[0]
        return x


class Split(nn.Module):
    """Half of the channels leave: z = (x_b - μ(x_a))/σ(x_a), so that x_b given x_a is a learnt Gaussian.

    Args:
        net: see ``Coupling``, which this is, with the second half taken away.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.coupling = Coupling(net)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Signals (B, C, *D) to what stays, the latent that leaves, and the log-determinant (B,)."""
        y, spread = self.coupling(x, context)
        kept, latent = y.chunk(2, dim=1)
        return kept, latent, spread

    def inverse(self, kept: Tensor, latent: Tensor, context: Tensor | None = None) -> Tensor:
        """The signals that became the two."""
        return self.coupling.inverse(torch.cat([kept, latent], dim=1), context)


class MultiScale(nn.Module):
    """A flow: one chain per scale, and a split after each but the last.

    Args:
        scales: the chains, finest first.
        splits: one less.
    """

    def __init__(self, scales: Sequence[Chain], splits: Sequence[Split]) -> None:
        super().__init__()
        self.scales, self.splits = nn.ModuleList(scales), nn.ModuleList(splits)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """Signals (B, C, *D) to latents, one per scale, and the log-determinant (B,)."""
        latents, total = [], x.new_zeros(len(x))
        for number, scale in enumerate(self.scales):
            x, part = scale(x, context)
            total = total + part
            if number < len(self.splits):
                x, latent, part = self.splits[number](x, context)
                latents.append(latent)
                total = total + part
        return [*latents, x], total

    def inverse(self, latents: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        """The signals of latents, one per scale."""
        x = latents[-1]
        for number in reversed(range(len(self.scales))):
            if number < len(self.splits):
                x = cast(Split, self.splits[number]).inverse(x, latents[number], context)
            x = cast(Chain, self.scales[number]).inverse(x, context)
        return x

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p of signals (B, C, *D), in nats, (B,)."""
        latents, total = self(x, context)
        for latent in latents:
            total = total - 0.5 * (latent.square() + math.log(2 * math.pi)).flatten(1).sum(1)
        log_prob: Tensor = total
        return log_prob

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set every ``ActNorm`` by data (B, C, *D)."""
        for number, scale in enumerate(self.scales):
            x = cast(Chain, scale).initialise(x, context)
            if number < len(self.splits):
                x = self.splits[number](x, context)[0]


def positions(x: Tensor) -> int:
    """How many places signals (B, C, *D) have."""
    return math.prod(x.shape[2:])
