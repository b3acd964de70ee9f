"""The covariance of clean sources given noisy ones, from the Jacobian of a denoiser.

For x = x_0 + σ ε and the mean D(x) of x_0, with the Jacobian J = ∂D/∂x,

    Cov[x_0 | x] v = σ² Jᵀ v                                    a vector-Jacobian product: a backward pass
    h = D + σ² Jᵀ Aᵀ u,   (σ² A Jᵀ Aᵀ + σ_y²) u = m - A D

h is E[x_0 | x, m] where x_0 given x is Gaussian. u is, for each item, the combination of a few vectors that
leaves the residual of least norm (GMRES): the u of the noise level before, then residuals, divided by the
mixture's variance under independent pixels. A residual of least norm never grows, whatever J is: that of a
trained network is neither symmetric nor positive, for which conjugate gradients diverge.

Source: Boys et al. 2023 (Tweedie moment projected diffusions), equation 8; Rozet et al. 2024 (learning
    diffusion priors from observations), algorithm 3, which solves for u by conjugate gradients;
    Saad & Schultz 1986 (GMRES).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sepcli.signal.mixing import WeightedSum

DEPENDENT = 1e-4
"""A vector whose image is, up to this share of its norm, in the span of the images before is left out."""


class Correction(NamedTuple):
    """Step of an estimate towards the mixture: σ² Jᵀ Aᵀ u (B, K, C, *D), what is left of m - A D, and u."""

    step: Tensor
    residual: Tensor
    solution: Tensor


class _Vectors(NamedTuple):
    """A direction u (B, C, *D), σ² Jᵀ Aᵀ u (B, K, C, *D), and its image (σ² A Jᵀ Aᵀ + σ_y²) u."""

    direction: Tensor
    moved: Tensor
    image: Tensor


class JacobianSolver:
    """Solves for u of a batch of mixtures, noise level after noise level.

    Args:
        mixing: A.
        products: n ≥ 1, vector-Jacobian products per evaluation.
        noise: σ_y², the variance of the mixture's noise.
    """

    def __init__(self, mixing: WeightedSum, products: int, noise: float) -> None:
        self._mixing, self._products, self._noise = mixing, products, noise
        self._last: tuple[float, Tensor] | None = None

    def correct(self, x: Tensor, mean: Tensor, residual: Tensor, scale: Tensor, sigma: Tensor) -> Correction:
        """Return the step of D towards the mixture.

        Args:
            x: sources (B, K, C, *D) at noise level σ, of which ``mean`` is a differentiable function.
            mean: D, like x.
            residual: m - A D (B, C, *D), or of a D that has been clipped.
            scale: variance of the mixture given x, of independent pixels, positive, like the residual.
            sigma: σ (); where it is above that of the call before, nothing of that call is used.
        """
        step, solution, left = torch.zeros_like(x), torch.zeros_like(residual), residual
        basis: list[_Vectors] = []
        candidate = self._previous(float(sigma), len(x))
        for _ in range(self._products):
            direction = left / scale if candidate is None else candidate
            candidate = None
            moved = self._covariance(x, mean, direction, sigma)
            image = self._mixing(moved) + self._noise * direction
            vectors = _orthogonal(_Vectors(direction, moved, image), basis)
            along = _dot(left, vectors.image)
            solution = solution + _times(along, vectors.direction)
            step, left = step + _times(along, vectors.moved), left - _times(along, vectors.image)
            basis.append(vectors)
        self._last = float(sigma), solution
        return Correction(step, left, solution)

    def _previous(self, sigma: float, items: int) -> Tensor | None:
        """Return u of the noise level before, unless this one is above, or a single product is allowed."""
        if self._last is None or self._products < 2:
            return None
        before, solution = self._last
        return solution if sigma <= before and len(solution) == items else None

    def _covariance(self, x: Tensor, mean: Tensor, direction: Tensor, sigma: Tensor) -> Tensor:
        cotangent = self._mixing.adjoint(direction)
        (product,) = torch.autograd.grad(mean, x, cotangent, retain_graph=True)
        return sigma**2 * product


def _orthogonal(vectors: _Vectors, basis: Sequence[_Vectors]) -> _Vectors:
    """Combine a direction with those of the basis so that the images are orthonormal.

    All are zero for items whose image is in the span of the others, or not finite.
    """
    length = _dot(vectors.image, vectors.image).sqrt()
    for other in basis:
        along = _dot(vectors.image, other.image)
        vectors = _Vectors(*(v - _times(along, w) for v, w in zip(vectors, other, strict=True)))
    norm = _dot(vectors.image, vectors.image).sqrt()
    usable = (norm > DEPENDENT * length) & norm.isfinite()
    factor = torch.where(usable, 1.0 / norm, 0.0)
    return _Vectors(*(_times(factor, v.nan_to_num(0.0, 0.0, 0.0)) for v in vectors))


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Return the inner product of every item of two tensors (B, ...), (B,)."""
    return (one * other).flatten(1).sum(1)


def _times(factor: Tensor, x: Tensor) -> Tensor:
    """Return the product of a factor (B,) per item and a tensor (B, ...)."""
    return factor.view(-1, *[1] * (x.dim() - 1)) * x
