"""A Gaussian variational posterior of K sources, and the bound on log p(m) that it is trained with.

With mean μ and standard deviation ρ of every sample of every source, the posterior factorizes if the mixture
contains noise of standard deviation σ_m > 0,

    q(x | m) = N(x; μ, ρ²),    log p(m) ≥ E_q[Σ_k log p(x_k) + log N(m; A x, σ_m²) - log N(x; μ, ρ²)]

Without it, σ_m = 0, q is that product conditioned on A x = m. The residual of the mixture is distributed over
the sources in proportion to their variance (Matheron's rule):

    x = u + α ρ² (m - A u) / Σ_j α_j² ρ_j²,   u ~ N(μ, ρ²)
    log p(m) ≥ E_q[Σ_k log p(x_k) + log N(m; A μ, Σ_j α_j² ρ_j²) - log N(x; μ, ρ²)]

The first bound is that of the thesis; it is not tight for two sources or more, because their posterior is
dependent. The second is tight for Gaussian sources, at μ and ρ of the prior; it is not in the thesis.

Source: Frank 2020, equations 20-24; Kingma & Welling 2014 for the reparametrization.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.signal.mixing import WeightedSum


@dataclass(frozen=True)
class GaussianSources:
    """q(x | m); its samples are differentiable in mean and standard deviation.

    Attributes:
        mean: μ (B, K, C, *D).
        std: ρ > 0, of the same shape.
        mixture: m (B, C, *D).
        mixing: A.
        noise: σ_m, the standard deviation of the mixture's noise; 0: samples sum to the mixture exactly.
    """

    mean: Tensor
    std: Tensor
    mixture: Tensor
    mixing: WeightedSum
    noise: float = 0.0

    def expected(self) -> Tensor:
        """Return E_q[x] (B, K, C, *D)."""
        return self._constrained(self.mean)

    def sample(self, normal: Tensor) -> Tensor:
        """Return the sample (B, K, C, *D) that belongs to standard normal numbers of this shape."""
        return self._constrained(self.mean + self.std * normal)

    def log_ratio(self, x: Tensor) -> Tensor:
        """Return log p(m | x) - log q(x | m) (B,), in nats, at samples x (B, K, C, *D)."""
        if self.noise:
            mean, std = self.mixing(x), torch.full_like(self.mixture, self.noise)
        else:
            mean, std = self.mixing(self.mean), self._mixture_variance().sqrt()
        return _log_normal(self.mixture, mean, std) - _log_normal(x, self.mean, self.std)

    def _constrained(self, x: Tensor) -> Tensor:
        """Return x moved onto the constraint, if there is one."""
        if self.noise:
            return x
        residual = (self.mixture - self.mixing(x)) / self._mixture_variance()
        return x + self.std.square() * self.mixing.adjoint(residual)

    def _mixture_variance(self) -> Tensor:
        """Return Σ_k α_k² ρ_k² (B, C, *D)."""
        return WeightedSum(tuple(w * w for w in self.mixing.weights))(self.std.square())


def _log_normal(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return log N(x; mean, std²) of items (B, ...), (B,)."""
    terms = ((x - mean) / std).square() + math.log(2 * math.pi) + 2 * std.log()
    return -0.5 * terms.flatten(1).sum(1)
