"""Priors of K sources out of priors of one: a class for every source, a network for every source."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from torch import Tensor

from sepcli.errors import PriorError
from sepcli.priors.images.denoiser import DenoiserPrior
from sepcli.priors.images.diffusers import DiffusionUnetPrior
from sepcli.priors.images.flow import FlowPrior
from sepcli.priors.images.ncsn import NcsnPrior
from sepcli.priors.precision import fastest

Trainable = DenoiserPrior | NcsnPrior | FlowPrior
"""Priors of images that are trained here."""
ImagePrior = Trainable | DiffusionUnetPrior
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
        return self.prior.has_variance

    def log_prob(self, x: Tensor, sigma: float) -> Tensor:
        """Return log p_σ of a flow at x (B, 1, C, H, W) in nats, (B,).

        Raises:
            PriorError: the network is no density.
        """
        if not isinstance(self.prior, FlowPrior):
            raise PriorError("the prior is no density", "use a flow")
        return self.prior.log_prob(x, sigma, self.label)

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return ∇ log p_σ at x (B, K, C, H, W) for σ ()."""
        with self._precision(x):
            return self.prior.score(x, sigma, self.label)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean D and variance C of the clean images, each like x."""
        with self._precision(x):
            return self.prior.moments(x, sigma, self.label)

    def _precision(self, x: Tensor) -> AbstractContextManager[None]:
        return fastest(x.device) if self.fast else nullcontext()
