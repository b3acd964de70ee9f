"""Priors of K sources out of priors of one source each: p(x) = Π_k p_k(x_k)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from sepcli.errors import PriorError
from sepcli.protocols import DenoisingPrior, ScorePrior


class NoisyDensity(Protocol):
    """A density of one source under noise, such as a flow that is conditioned on σ."""

    def log_prob(self, x: Tensor, sigma: float, /) -> Tensor:
        """log p_σ at x (B, 1, C, *D) in nats, (B,)."""


def provides_variance(prior: ScorePrior) -> bool:
    """Whether a prior has the posterior variance: what it says itself, else whether it has ``moments``."""
    return bool(getattr(prior, "has_variance", hasattr(prior, "moments")))


def sigma_range(priors: Sequence[ScorePrior]) -> dict[str, float]:
    """The range of σ of priors that state theirs, as settings of a sampler."""
    lows = [float(prior.sigma_min) for prior in priors if hasattr(prior, "sigma_min")]
    highs = [float(prior.sigma_max) for prior in priors if hasattr(prior, "sigma_max")]
    return {**({"sigma_min": max(lows)} if lows else {}), **({"sigma_max": min(highs)} if highs else {})}


@dataclass(frozen=True)
class IndependentPriors:
    """p(x) = Π_k p_k(x_k); fulfils ``sepcli.protocols.DenoisingPrior``.

    Neighbors that are the same object are evaluated together.
    """

    priors: Sequence[ScorePrior]

    @property
    def has_variance(self) -> bool:
        """Whether every prior provides the posterior variance."""
        return all(provides_variance(prior) for prior in self.priors)

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, K, C, *D) for σ ()."""
        return torch.cat([prior.score(x[:, part], sigma) for prior, part in self._runs()], dim=1)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean D and variance C of the clean sources, each like x.

        Raises:
            PriorError: a prior does not provide its variance.
        """
        if not self.has_variance:
            raise PriorError(
                "a prior does not provide its posterior variance", "set weigh to 0", argument="settings.weigh"
            )
        moments = [cast(DenoisingPrior, prior).moments(x[:, part], sigma) for prior, part in self._runs()]
        mean, variance = (torch.cat(parts, dim=1) for parts in zip(*moments, strict=True))
        return mean, variance

    def _runs(self) -> list[tuple[ScorePrior, slice]]:
        runs: list[tuple[ScorePrior, slice]] = []
        for k, prior in enumerate(self.priors):
            if runs and runs[-1][0] is prior:
                runs[-1] = (prior, slice(runs[-1][1].start, k + 1))
            else:
                runs.append((prior, slice(k, k + 1)))
        return runs


@dataclass(frozen=True)
class IndependentDensities:
    """p_σ(x) = Π_k p_σ(x_k) of flows; fulfils ``sepcli.protocols.DensityPrior``.

    Attributes:
        priors: K of them, in the order of the sources.
        sigma: σ of the density.
        noisy: whether samples carry that noise; only Langevin dynamics leave any.
    """

    priors: Sequence[NoisyDensity]
    sigma: float
    noisy: bool = False

    def log_prob(self, x: Tensor) -> Tensor:
        """Σ_k log p_σ at x (B, K, C, *D) in nats, (B,)."""
        each = zip(self.priors, torch.split(x, 1, dim=1), strict=True)
        return torch.stack([prior.log_prob(one, self.sigma) for prior, one in each]).sum(0)
