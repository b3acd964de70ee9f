"""A prior of two images that counts its evaluations and backward passes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sepcli.protocols import DenoisingPrior


class Counted:
    """A prior of K images side by side; fulfils ``sepcli.protocols.DenoisingPrior``.

    Attributes:
        evaluations: of the network, for a pair of images each.
        backwards: backward passes through it, likewise.
    """

    def __init__(self, prior: DenoisingPrior) -> None:
        self.prior = prior
        self.evaluations = self.backwards = 0

    @property
    def has_variance(self) -> bool:
        """Whether the network provides the posterior variance."""
        return self.prior.has_variance

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return ∇ log p_σ at x (B, K, C, H, W) for σ ()."""
        self.evaluations += len(x)
        return self.tallied(self.prior.score(x, sigma))

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean D and variance C of the clean images."""
        self.evaluations += len(x)
        mean, variance = self.prior.moments(x, sigma)
        return self.tallied(mean), variance

    def mean(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return D at gray images side by side (B, K, H, W) for σ (); it can be differentiated."""
        return self.moments(x[:, :, None], sigma)[0][:, :, 0]

    def tallied(self, x: Tensor) -> Tensor:
        """Return a result of the network; the gradients that pass it are counted."""
        result: Tensor = _Tally.apply(x, self)
        return result


class _Tally(torch.autograd.Function):
    """The identity, which counts the gradients that pass it."""

    @staticmethod
    def forward(x: Tensor, _: Counted) -> Tensor:
        """Return x."""
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Remember who counts."""
        ctx.counted = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Count, and return the gradient."""
        ctx.counted.backwards += len(gradient)
        return gradient, None
