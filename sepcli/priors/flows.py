"""Normalizing flows, composed of transforms (see ``sepcli.priors.transforms``).

A ``MultiScale`` flow chains them and factors half of the channels out after every scale but the last; the
prior of all latents is N(0, I), so that

    log p(x) = Σ log N(z; 0, I) + Σ log-determinants

Flows may be trained by likelihood and, as samplers use their score, by the error of denoising with it:

    D(y) = y + s² ∇ log p_s(y),   y = x + s ε                            Tweedie's formula
    error = (1/s² + 1/d²) |D(y) - x|²/dimensions                         relative to that of the best linear D

Both are least at the same density, p_s, and weigh the errors of a flow differently: one that is trained by
likelihood alone denoises far worse than a denoiser (``examples/benchmarks/flow_quality.py``).

Source: Dinh et al. 2017 (RealNVP), the scales; Kingma & Dhariwal 2018 (Glow); Vincent 2011, denoising score
    matching; Karras et al. 2022, its weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import zip_longest
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sepcli.priors.transforms import ActNorm, Coupling, Transform

DATA_STD = 0.3
"""d, about the standard deviation of images in [0, 1], for the weights of the noise levels."""


class Chain(nn.Module):
    """A composition of transforms."""

    def __init__(self, *transforms: nn.Module) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Transform``."""
        total = x.new_zeros(len(x))
        for transform in self.transforms:
            x, log_det = transform(x, context)
            total = total + log_det
        return x, total

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """See ``Transform``."""
        for transform in reversed(self.transforms):
            y = cast(Transform, transform).inverse(y, context)
        return y

    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Initialize every ``ActNorm`` on data (B, C, *D), and return the output of the chain."""
        for transform in self.transforms:
            if isinstance(transform, ActNorm):
                transform.initialize(x)
            x = transform(x, context)[0]
        return x


class Split(nn.Module):
    """Factor out half of the channels: z = (x_b - μ(x_a))/σ(x_a); x_b given x_a is a learned Gaussian.

    ``net`` is that of the ``Coupling`` whose second half is factored out.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.coupling = Coupling(net)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the half that is kept, the latent that is factored out, and the log-determinant (B,)."""
        y, log_det = self.coupling(x, context)
        kept, latent = y.chunk(2, dim=1)
        return kept, latent, log_det

    def inverse(self, kept: Tensor, latent: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the signals of a kept half and a latent."""
        return self.coupling.inverse(torch.cat([kept, latent], dim=1), context)


class MultiScale(nn.Module):
    """A multi-scale flow: one chain per scale, the finest first, and a split after each but the last."""

    def __init__(self, scales: Sequence[Chain], splits: Sequence[Split]) -> None:
        super().__init__()
        self.scales, self.splits = nn.ModuleList(scales), nn.ModuleList(splits)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """Map signals (B, C, *D) to latents, one per scale; return the log-determinant (B,), too."""
        latents, total = [], x.new_zeros(len(x))
        for scale, split in self._stages():
            x, log_det = scale(x, context)
            total = total + log_det
            if split is not None:
                x, latent, log_det = split(x, context)
                latents.append(latent)
                total = total + log_det
        return [*latents, x], total

    def inverse(self, latents: Sequence[Tensor], context: Tensor | None = None) -> Tensor:
        """Return the signals of latents, one per scale."""
        x, stages = latents[-1], self._stages()
        for (scale, split), latent in zip(reversed(stages), reversed(latents), strict=True):
            if split is not None:
                x = split.inverse(x, latent, context)
            x = scale.inverse(x, context)
        return x

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p (B,) of signals (B, C, *D), in nats."""
        latents, total = self(x, context)
        for latent in latents:
            total = total - 0.5 * (latent.square() + math.log(2 * math.pi)).flatten(1).sum(1)
        return cast(Tensor, total)

    def sample(
        self, like: Tensor, context: Tensor | None, rng: torch.Generator, temperature: float
    ) -> Tensor:
        """Return signals like ``like``, of latents of standard deviation ``temperature``; rng of the CPU."""
        shapes, _ = self(like, context)
        latents = [temperature * torch.randn(z.shape, generator=rng).to(z) for z in shapes]
        return self.inverse(latents, context)

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Initialize every ``ActNorm`` on data (B, C, *D)."""
        for scale, split in self._stages():
            x = scale.initialize(x, context)
            x = x if split is None else split(x, context)[0]

    def _stages(self) -> list[tuple[Chain, Split | None]]:
        scales, splits = cast(list[Chain], self.scales), cast(list[Split], self.splits)
        return list(zip_longest(scales, splits))


def density_and_error(
    log_prob: Callable[[Tensor], Tensor], clean: Tensor, noise: Tensor, std: Tensor
) -> tuple[Tensor, Tensor]:
    """Return log p (B,) of noisy signals, and the error () of denoising, both differentiable by the weights.

    Args:
        log_prob: the flow's, of signals like ``clean``.
        clean: x (B, ...).
        noise: s ε like x.
        std: s (B,); the error of a signal without noise is 0.
    """
    recorded = torch.is_grad_enabled()
    with torch.enable_grad(), twice_differentiable():
        noisy = (clean + noise).detach().requires_grad_()
        values = log_prob(noisy)
        (score,) = torch.autograd.grad(values.sum(), noisy, create_graph=recorded)
    variance = std.square().view(-1, *[1] * (clean.dim() - 1))
    weight = torch.where(variance > 0, 1 / variance.clamp(min=1e-12) + 1 / DATA_STD**2, 0.0)
    error = (weight * (noise + variance * score).square()).mean()
    return (values if recorded else values.detach()), error


def twice_differentiable() -> AbstractContextManager[None]:
    """Choose attention with second derivatives; that of CPUs, which is faster, raises RuntimeError."""
    context: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return context


def score_of(log_prob: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ∇ log p at x by autograd, in full precision, also in inference mode and under autocast.

    Where gradients are recorded and x needs one, the result is differentiable.
    """
    full_precision = torch.autocast(x.device.type, enabled=False)
    differentiable = torch.is_grad_enabled() and x.requires_grad
    attention = twice_differentiable() if differentiable else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), full_precision, attention:
        variable = x if differentiable else x.detach().clone().requires_grad_()
        total = log_prob(variable).sum()
        (gradient,) = torch.autograd.grad(total, variable, create_graph=differentiable)
    return gradient
