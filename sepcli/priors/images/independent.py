"""Priors of K sources out of priors of one: a class for every source, a network for every source."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from torch import Tensor

from sepcli.errors import PriorError
from sepcli.priors.images.denoiser import DenoiserPrior
from sepcli.priors.images.diffusers import DiffusionUnetPrior
from sepcli.priors.images.glow import GlowPrior
from sepcli.priors.images.ncsn import NcsnPrior
from sepcli.priors.precision import fastest

ImagePrior = DenoiserPrior | NcsnPrior | DiffusionUnetPrior | GlowPrior
"""A network that is a prior of one image, class-conditional if its config says so."""


@dataclass(frozen=True)
class ClassPrior:
    """p(x | class) of a class-conditional network; fulfils ``sepcli.protocols.ScorePrior``.

    Attributes:
        prior: the network.
        label: which of its classes all sources belong to; None: any.
        fast: ask the network in the device's fastest precision (see ``sepcli.priors.precision``).
    """

    prior: ImagePrior
    label: int | None = None
    fast: bool = False

    @property
    def has_variance(self) -> bool:
        """Whether the network provides the posterior variance."""
        return bool(getattr(self.prior.config, "variance", False))

    def log_prob(self, x: Tensor, sigma: float) -> Tensor:
        """log p_σ of a flow at x (B, 1, C, H, W) in nats, (B,).

        Raises:
            PriorError: the network is no density.
        """
        if not isinstance(self.prior, GlowPrior):
            raise PriorError("the prior is no density", "use a flow")
        return self.prior.log_prob(x, sigma, self.label)

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, K, C, H, W) for σ ()."""
        with fastest(x.device) if self.fast else nullcontext():
            return self.prior.score(x, sigma, self.label)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean D and variance C of the clean images, each like x."""
        with fastest(x.device) if self.fast else nullcontext():
            return self.prior.moments(x, sigma, self.label)
