"""Priors of K sources out of priors of one: a class for every source, a network for every source."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.priors.images.denoiser import DenoiserPrior
from sepcli.priors.images.diffusers import DiffusionUnetPrior
from sepcli.priors.images.glow import GlowPrior
from sepcli.priors.images.ncsn import NcsnPrior
from sepcli.priors.precision import fastest
from sepcli.protocols import DenoisingPrior

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

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, K, C, H, W) for σ ()."""
        with fastest(x.device) if self.fast else nullcontext():
            return self.prior.score(x, sigma, self.label)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean D and variance C of the clean images, each like x."""
        with fastest(x.device) if self.fast else nullcontext():
            return self.prior.moments(x, sigma, self.label)


@dataclass(frozen=True)
class SourcePriors:
    """p(x) = Π_k p_k(x_k); fulfils ``sepcli.protocols.ScorePrior``.

    Attributes:
        priors: K of them, in the order of the sources. Neighbours that are the same object are asked
            together.
    """

    priors: Sequence[DenoisingPrior]

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, K, C, H, W) for σ ()."""
        return torch.cat([prior.score(x[:, part], sigma) for prior, part in self._runs()], dim=1)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean D and variance C of the clean images, each like x."""
        found = [prior.moments(x[:, part], sigma) for prior, part in self._runs()]
        mean, variance = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
        return mean, variance

    def _runs(self) -> list[tuple[DenoisingPrior, slice]]:
        runs: list[tuple[DenoisingPrior, slice]] = []
        for k, prior in enumerate(self.priors):
            if runs and runs[-1][0] is prior:
                runs[-1] = (prior, slice(runs[-1][1].start, k + 1))
            else:
                runs.append((prior, slice(k, k + 1)))
        return runs


@dataclass(frozen=True)
class SourceDensities:
    """p_σ(x) = Π_k p_σ(x_k | class k) of flows; fulfils ``sepcli.protocols.DensityPrior``.

    Attributes:
        priors: K of them, in the order of the sources.
        labels: which of its classes each source belongs to; None: any.
        sigma: σ, the noise that the sources carry.
    """

    priors: Sequence[GlowPrior]
    labels: Sequence[int | None]
    sigma: float

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ_k log p_σ at x (B, K, C, H, W) in nats, (B,)."""
        each = zip(self.priors, self.labels, torch.split(x, 1, dim=1), strict=True)
        return torch.stack([prior.log_prob(one, self.sigma, label) for prior, label, one in each]).sum(0)
