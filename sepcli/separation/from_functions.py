"""Functions as priors of one source: a denoiser, or a score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.errors import PriorError, UsageError

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x (N, C, *D), sigma ()) → the mean or the variance of the clean signals, or the score; like x."""


@dataclass(frozen=True)
class DenoiserPrior:
    """A denoiser as a prior of one source; fulfils ``sepcli.protocols.DenoisingPrior``.

    Attributes:
        denoise: D(x, sigma) → x_0.
        sigma_min: the least noise that it was trained on, in the units of x.
        sigma_max: the greatest.
        variance: the posterior variance; None: unknown.
    """

    denoise: Denoiser
    sigma_min: float
    sigma_max: float
    variance: Denoiser | None = None

    def __post_init__(self) -> None:
        _check_range(self.sigma_min, self.sigma_max)

    @property
    def has_variance(self) -> bool:
        """Whether the denoiser comes with its posterior variance."""
        return self.variance is not None

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """(D(x, σ) - x)/σ² at x (B, K, C, *D) for σ ()."""
        return (_each(self.denoise, x, sigma) - x) / sigma**2

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean D and variance C of the clean sources, each like x.

        Raises:
            UsageError: the variance is unknown.
        """
        if self.variance is None:
            raise UsageError("the denoiser has no variance", "pass variance=", argument="variance")
        return _each(self.denoise, x, sigma), _each(self.variance, x, sigma)


@dataclass(frozen=True)
class ScoreFunctionPrior:
    """∇ log p_σ as a prior of one source, for σ in a range; fulfils ``sepcli.protocols.ScorePrior``."""

    function: Denoiser
    sigma_min: float
    sigma_max: float

    def __post_init__(self) -> None:
        _check_range(self.sigma_min, self.sigma_max)

    @property
    def has_variance(self) -> bool:
        """False: a score says nothing of the posterior variance."""
        return False

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, K, C, *D) for σ ()."""
        return _each(self.function, x, sigma)


def _each(network: Denoiser, x: Tensor, sigma: Tensor) -> Tensor:
    result = network(x.flatten(0, 1), sigma).view_as(x)
    if torch.is_grad_enabled() and x.requires_grad and not result.requires_grad:
        raise PriorError(
            "the function of the prior is not differentiable",
            "set moments=diagonal, or compute it without torch.no_grad",
            argument="settings.moments",
        )
    return result


def _check_range(sigma_min: float, sigma_max: float) -> None:
    if not 0.0 < sigma_min < sigma_max < float("inf"):
        raise UsageError(
            f"the range of σ from {sigma_min} to {sigma_max} is empty",
            "use 0 < sigma_min < sigma_max",
            argument="sigma_min",
        )
