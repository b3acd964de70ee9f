"""A variational posterior of K sources, Gaussian, and the bound on log p(m) that it is learnt by.

With means μ and standard deviations ρ of every sample of every source, the posterior is their product if the mixture
has noise of its own,

    q(x | m) = N(x; μ, ρ²),    log p(m) ≥ E_q[Σ_k log p(x_k) + log N(m; A x, σ_m²) - log N(x; μ, ρ²)]

If it has none, σ_m = 0, q is that product given that A x = m. What the means leave of the mixture goes to the
sources by how unsure they are, and a draw is one of the product, moved likewise:

    x = u + α ρ² (m - A u) / Σ_j α_j² ρ_j²,   u ~ N(μ, ρ²)
    log p(m) ≥ E_q[Σ_k log p(x_k) + log N(m; A μ, Σ_j α_j² ρ_j²) - log N(x; μ, ρ²)]

The first bound is the thesis'; it cannot be tight for two sources or more, as the posterior makes them depend
on each other. The second is tight for Gaussian sources, at μ and ρ of the prior.

Source: Frank 2020, equations 20-24; Kingma & Welling 2014 for the reparametrised draws; the second form is
    Matheron's rule, and not in the thesis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.signal.mixing import WeightedSum


@dataclass(frozen=True)
class GaussianSources:
    """q(x | m); its draws are differentiable in mean and standard deviation.

    Attributes:
        mean: μ (B, K, C, *D).
        std: ρ > 0, likewise.
        mixture: m (B, C, *D).
        mixing: A.
        noise: σ_m, the standard deviation of the mixture's own noise; 0: draws sum to the mixture exactly.
    """

    mean: Tensor
    std: Tensor
    mixture: Tensor
    mixing: WeightedSum
    noise: float = 0.0

    def expected(self) -> Tensor:
        """E_q[x], (B, K, C, *D)."""
        return self._moved(self.mean)

    def draw(self, normal: Tensor) -> Tensor:
        """A draw (B, K, C, *D) for standard normal numbers of this shape."""
        return self._moved(self.mean + self.std * normal)

    def log_ratio(self, x: Tensor) -> Tensor:
        """log p(m | x) - log q(x | m) in nats at draws x (B, K, C, *D), (B,); with log p(x), the bound."""
        if self.noise:
            of_mixture = _log_normal(self.mixture, self.mixing(x), torch.full_like(self.mixture, self.noise))
        else:
            of_mixture = _log_normal(self.mixture, self.mixing(self.mean), self._spread().sqrt())
        return of_mixture - _log_normal(x, self.mean, self.std)

    def _moved(self, x: Tensor) -> Tensor:
        """Sources on the constraint, if there is one."""
        if self.noise:
            return x
        gap = (self.mixture - self.mixing(x)) / self._spread()
        return x + self.std.square() * self.mixing.adjoint(gap)

    def _spread(self) -> Tensor:
        """Σ_k α_k² ρ_k², (B, C, *D)."""
        return WeightedSum(tuple(w * w for w in self.mixing.weights))(self.std.square())


def _log_normal(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """log N(x; mean, std²) of items (B, ...), (B,)."""
    each = ((x - mean) / std).square() + math.log(2 * math.pi) + 2 * std.log()
    return -0.5 * each.flatten(1).sum(1)
