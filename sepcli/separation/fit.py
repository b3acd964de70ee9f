"""Fit: do the priors explain a mixture?

    t = 10 log10(Σ_k ‖α_k (D_k(x_k + σ ε) - x_k)‖²/‖m‖²)

for the separated sources x_k, whose denoising error is the integrand of a bound of -log p (see
``sepcli.posterior.elbo``): what a prior has not been trained on, it does not restore from noise. The noise is
coarse, so that t needs one evaluation, and compares all of a source with the prior, not its finest detail.

The fit is the share of reference mixtures, which the priors explain, whose t is at least as great: a p-value.
Below 0.05, one of 20 mixtures that the priors explain is flagged. This module imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

LEAST_FIT = 0.05
"""A fit below this one is reported as a misfit."""


@dataclass(frozen=True)
class FitReference:
    """Denoising errors of mixtures that the priors explain.

    Attributes:
        sigma: σ of the noise, in the units of the engine.
        errors: t of every mixture, dB.
    """

    sigma: float
    errors: tuple[float, ...]

    def fit(self, error: float | None) -> float | None:
        """Return the fit of a mixture with the denoising error t; None: it has none, as silence."""
        if error is None:
            return None
        as_great = sum(value >= error for value in self.errors)
        return (1 + as_great) / (1 + len(self.errors))


class DenoisingError:
    """t of the parts of a mixture together."""

    def __init__(self) -> None:
        self._error, self._mixture = 0.0, 0.0

    def add(self, energies: Iterable[Iterable[float]]) -> None:
        """Add the energies of error and mixture in N parts, (N, 2)."""
        for error, mixture in energies:
            self._error += error
            self._mixture += mixture

    @property
    def decibels(self) -> float | None:
        """t; None: the mixture is silent."""
        if not self._mixture > 0.0:
            return None
        return 10.0 * math.log10(max(self._error / self._mixture, 1e-30))
