"""Transforms with tractable Jacobians, of audio (B, C, T) and of images (B, C, H, W).

Under y = f(x) densities change by log p(x) = log p(y) + log |det ∂y/∂x|. A ``Transform`` returns y and the
second term, its log-determinant, per item; ``inverse`` returns x. They compute in the precision of x also
under autocast; only the networks inside them use it.

Source: Kingma & Dhariwal 2018 (Glow), table 1; Dinh et al. 2017 (RealNVP) for the coupling.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.signal.mdct import imdct, mdct

MAX_LOG_SCALE = 2.0
"""Couplings scale by e^±2 at most: unbounded ones learn to contract, and then their inverse diverges."""
MIN_STD = 1e-4
"""Floor of the standard deviation of a channel in the initialization of ``ActNorm``."""


class Transform(Protocol):
    """An invertible map; ``context`` is the condition of a conditional flow, None for an unconditional one.

    It is (B, E) for the whole signal, or, for audio, F frames (B, E, F) of equal length.
    """

    def __call__(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map signals (B, C, *D) to (B, C', *D'), and return the log-determinant (B,), too."""
        ...

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the x whose image is y."""
        ...


class Linear(nn.Linear):
    """A linear layer whose weights are stored in full precision."""

    exact = True


class ActNorm(nn.Module):
    """y = e^s (x + b) per channel; a context of width E (the mean of its frames) may be added to s and b."""

    exact = True
    """Store in full precision, not bfloat16: an error of a scale affects all positions of its channel."""

    def __init__(self, channels: int, context: int = 0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.tell = Linear(context, 2 * channels) if context else None
        if self.tell is not None:
            for parameter in self.tell.parameters():
                nn.init.zeros_(parameter)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Set b and s such that the channels of these data (B, C, *D) get mean 0 and variance 1."""
        rows = x.transpose(0, 1).flatten(1)
        self.bias.copy_(-rows.mean(1))
        self.log_scale.copy_(-rows.std(1, correction=0).clamp(min=MIN_STD).log())

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Transform``."""
        bias, log_scale = self._parameters_at(x, context)
        log_det = log_scale.flatten(1).sum(1) * positions(x)
        return (x + bias) * log_scale.exp(), log_det.expand(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """See ``Transform``."""
        bias, log_scale = self._parameters_at(y, context)
        return y * (-log_scale).exp() - bias

    def _parameters_at(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return b and s, (B, C, 1, ...) or (1, C, 1, ...)."""
        both = torch.cat([self.bias, self.log_scale])[None]
        if self.tell is not None:
            vector = context.mean(2) if context is not None and context.dim() == 3 else context
            both = both + self.tell(vector).to(x.dtype)
        bias, log_scale = both.view(*both.shape, *[1] * (x.dim() - 2)).chunk(2, dim=1)
        return bias, log_scale


class Invertible1x1(nn.Module):
    """y = W x at every position, W = P L (U + diag(± e^s)): a learned invertible 1×1 convolution.

    W is initialized to a random rotation; its permutation P and its signs ± are fixed.
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
        """Return L, and U with its diagonal."""
        lower = self.lower.tril(-1) + torch.eye(len(self.signs)).to(self.lower)
        return lower, self.upper.triu(1) + (self.signs * self.log_diagonal.exp()).diag()


class Coupling(nn.Module):
    """An affine coupling: a network of the first half of the channels shifts and scales the second half.

    y_b = e^s (x_b + t), s = 2 tanh(r/2); additive, without scales, y_b = x_b + t (NICE).

    Args:
        net: (first half (B, ⌈C/2⌉, *D), context) → t and r, (B, 2⌊C/2⌋, *D), or t alone if not ``affine``.
        affine: whether it scales.
    """

    def __init__(self, net: nn.Module, affine: bool = True) -> None:
        super().__init__()
        self.net, self.affine = net, affine

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Transform``."""
        first, second = x.chunk(2, dim=1)
        shift, log_scale = self._parameters_at(first, context)
        y = torch.cat([first, (second + shift) * log_scale.exp()], dim=1)
        return y, log_scale.flatten(1).sum(1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """See ``Transform``."""
        first, second = y.chunk(2, dim=1)
        shift, log_scale = self._parameters_at(first, context)
        return torch.cat([first, second * (-log_scale).exp() - shift], dim=1)

    def _parameters_at(self, first: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return t and s."""
        output: Tensor = self.net(first, context).to(first.dtype)
        if not self.affine:
            return output, torch.zeros_like(output)
        shift, raw = output.chunk(2, dim=1)
        return shift, MAX_LOG_SCALE * (raw / MAX_LOG_SCALE).tanh()


class Squeeze(nn.Module):
    """Squeeze neighbors into channels: 2 × 2 pixels, or 2 samples. The sides must be even."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Transform``."""
        log_det = x.new_zeros(len(x))
        if x.dim() == 4:
            return F.pixel_unshuffle(x, 2), log_det
        pairs = x.reshape(*x.shape[:2], -1, 2)
        return pairs.movedim(-1, 2).flatten(1, 2), log_det

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """See ``Transform``."""
        if y.dim() == 4:
            return F.pixel_shuffle(y, 2)
        return y.reshape(len(y), -1, 2, y.shape[-1]).movedim(2, -1).flatten(-2)


class Lapped(nn.Module):
    """The MDCT of audio (B, C, T): bands become channels, frames positions, (B, C M, T/M).

    It is orthogonal, so that its log-determinant is 0. The hop M is even, and divides T.
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


class Flip(nn.Module):
    """Reverse the channels, so that the next coupling transforms the other half."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Transform``."""
        return x.flip(1), x.new_zeros(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """See ``Transform``."""
        return y.flip(1)


def positions(x: Tensor) -> int:
    """Return the number of positions of signals (B, C, *D)."""
    return math.prod(x.shape[2:])
