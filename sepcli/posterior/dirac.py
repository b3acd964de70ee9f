"""An exact mixture: only the K-1 directions that the mixture leaves open are sampled.

The sources that sum to m form an affine space. With a = (α_1 … α_K), ‖a‖² = Σ α_k² and an orthonormal basis N
(K, K-1) of the vectors orthogonal to a, every one of its points is

    x = a m/‖a‖² + N z

so that unit noise on z is the unit noise P ε, P = I - a aᵀ/‖a‖² = N Nᵀ, on x, and A x = m whatever z is. No
source is singled out. The prior is seen through its denoiser D and, where it knows it, the variance C of
x_0 given x:

    h_k = D_k + α_k C_k (m - Σ_j α_j D_j) / (Σ_j α_j² C_j + σ_y²)
    score(z) = Nᵀ (h - x)/σ²

For Gaussian sources and their own C this h is E[x_0 | x, m], so that the score is exactly that of the
posterior with noise of σ on z. A prior that does not know C is taken to be flat, C = σ²; the score is then
Nᵀ ∇ log p_σ(x), that of p_σ restricted to the constraint. It is the former where all sources are equally
uncertain, and tends to the posterior's for σ → 0; on the way, two Gaussian sources of variances v_1 ≠ v_2 get
the spread of their geometric mean where the harmonic one is right.

Noise on z alone is less than a denoiser was told: of the σ² on x_k, α_k²/‖a‖² are missing, half for two
sources alike. A prior that measures how loud a sound is by how far it stands out of the noise then takes it
for too quiet. With isotropic noise the state is all of x, with noise along a, too, and the score is
(h - x)/σ², that of p_σ(x | m). Whatever x is, h is on the constraint, and so is what a sampler ends with.

With σ_y > 0 the mixture is only known up to N(0, σ_y²); the noise is isotropic then.

The channels of an image are not independent: what a denoiser does not know of one is much the same in all.
If sources are alike, their errors are taken to be fully correlated, C_jk = √(C_j C_k), and in place of
α_k C_k over Σ_j α_j² C_j there is

    h_k = D_k + √C_k S (m - Σ_j α_j D_j)/(S² + σ_y²),   S = Σ_j α_j √C_j

With C the same for all, what D lacks of the gray is then added to every channel alike; with independent
errors, most to the channel of the greatest weight, and an image in luma turns green where it is bright.

Where the clean sources are known to lie in [low, high], as those of images in [0, 1], so does every mean of
theirs: D is brought there first, and h is the point of the constraint

    h_k = clip(D_k + λ d_k),   d_k = α_k C_k, or √C_k of sources alike,

with λ so that the mixture is met. For independent errors it is the nearest one between the bounds in the
metric of C; that set is convex and holds the true sources, so that in this metric h is never further from
them than without. Where a mixture is dark, all its sources are; where it is brightest, so are they.

How badly the estimates explain the mixture is ‖m - A D‖²/σ², for an item as a whole. What is decided at one
moment of a sound has little to do with what is decided seconds later; there each frame may be judged by

    L = Σ (m - A D)²/v + ln v,   v = Σ_k α_k² C_k + σ_y²   (S² + σ_y² of sources alike)

over its bands, averaged over the frames near it. For independent Gaussian sources and their own C it is, but
for a constant, -2 ln p(m | x). Where C = σ² and σ_y = 0, it ranks states as ‖m - A D‖² does.

Source: Mariani et al. 2023 (multi-source diffusion), section 3.3, whose Dirac posterior takes x_K = m - Σ
    x_k; the symmetric form, the weights C and σ_y go beyond it (Kalman's update of independent Gaussians).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.posterior.box_projection import meet
from sepcli.posterior.gaussian import check_mixture, local_misfit, misfit
from sepcli.protocols import ScorePrior
from sepcli.signal.mixing import WeightedSum

Moments = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(x (B, K, C, *D), σ ()) → mean D and variance C of the clean sources, each like x."""


class NullSpace:
    """The directions of K sources that a weighted sum does not see.

    Args:
        weights: a, K ≥ 2 numbers; zero at most K-1 of them.

    Raises:
        UsageError: There are fewer than two weights, or no finite direction is fixed by them.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        a = torch.tensor(list(weights), dtype=torch.float64)
        if len(a) < 2 or not torch.isfinite(a).all() or not a.any():
            raise UsageError(
                f"weights {tuple(weights)} do not mix", "Give two or more, not all of them zero."
            )
        self._a = a
        self._basis = _complement(a)

    @property
    def free(self) -> int:
        """K-1."""
        return self._basis.shape[1]

    def lift(self, free: Tensor, mixture: Tensor) -> Tensor:
        """Free coordinates z (B, K-1, C, *D) and m (B, C, *D) to the sources (B, K, C, *D) that sum to m."""
        fixed = (self._a / self._a.square().sum()).to(mixture)
        return _combine(self._basis, free) + torch.einsum("b...,k->bk...", mixture, fixed)

    def coordinates(self, sources: Tensor) -> Tensor:
        """Nᵀ x: sources or gradients (B, K, C, *D) to free coordinates (B, K-1, C, *D)."""
        return _combine(self._basis.T, sources)

    def project(self, sources: Tensor) -> Tensor:
        """P x = N Nᵀ x, (B, K, C, *D): what is left of a change when the mixture must stay."""
        return _combine(self._basis, self.coordinates(sources))


class DiracPosterior:
    """p(x | m) on the constraint; fulfils ``sepcli.protocols.Posterior``.

    The state is z (B, K-1, C, *D), or the sources (B, K, C, *D) themselves where noise is isotropic.

    Args:
        prior: p_σ(x) of the K sources side by side.
        mixing: A, for K ≥ 2 sources.
        mixture: m (B, C, *D).
        moments: If given, asked for D and C in place of ``prior``, to weigh the sources by how uncertain
            they are.
        sigma_y: σ_y, the standard deviation of the mixture's own noise.
        isotropic: whether there is noise in all directions, also in that which the mixture fixes.
        alike: whether the errors of the sources' estimates are fully correlated, not independent.
        bounds: (low, high) of the clean sources' values; None: they have none. A value of the mixture that no
            sources within make is met as if there were none.
        local: 0: an item's misfit is one number; w > 0: it is L of every place of the last axis, averaged
            over w to either side.
        from_mixture: whether sampling begins with all of the mixture in every source, m/α_k, not with none of
            it: for priors that take from it what is theirs.

    Raises:
        UsageError: σ_y or w is negative, the weights do not mix, sources alike have one that is not positive,
            low is not below high, or sources that begin as the mixture are not free of it, or have no weight.
        InputError: The mixture is empty or not finite.
    """

    def __init__(
        self,
        prior: ScorePrior,
        mixing: WeightedSum,
        mixture: Tensor,
        *,
        moments: Moments | None = None,
        sigma_y: float = 0.0,
        isotropic: bool = False,
        alike: bool = False,
        bounds: tuple[float, float] | None = None,
        local: int = 0,
        from_mixture: bool = False,
    ) -> None:
        if not 0.0 <= sigma_y < float("inf"):
            raise UsageError(f"sigma_y is {sigma_y}", "Use 0 for an exact mixture, or more.")
        if alike and min(mixing.weights) <= 0.0:
            raise UsageError("sources alike need positive weights", "Leave out --set alike=1.")
        if bounds is not None and not bounds[0] < bounds[1]:
            raise UsageError(f"sources from {bounds[0]} to {bounds[1]}", "give the lower value first")
        if local < 0:
            raise UsageError(f"local is {local}", "Use 0 for items as a whole, or how many frames are near.")
        if from_mixture and not ((isotropic or sigma_y > 0.0) and all(mixing.weights)):
            raise UsageError(
                "sources begin as the mixture only with noise in all directions, and none of weight 0",
                "add --set isotropic=1, or leave out --set from_mixture=1",
            )
        check_mixture(mixture)
        self._prior, self._mixing, self._mixture, self._moments = prior, mixing, mixture, moments
        self._noise, self._whole, self._alike = sigma_y**2, isotropic or sigma_y > 0.0, alike
        self._bounds, self._local, self._from_mixture = bounds, local, from_mixture
        self._null = NullSpace(mixing.weights)

    @property
    def like(self) -> Tensor:
        """An empty tensor of the state's shape, type and device."""
        batch, *signal = self._mixture.shape
        return self._mixture.new_empty((batch, self._null.free + self._whole, *signal))

    @property
    def start(self) -> Tensor:
        """m/α_k for every source k if it is to be from the mixture, else zeros."""
        if not self._from_mixture:
            return torch.zeros_like(self.like)
        return torch.stack([self._mixture / weight for weight in self._mixing.weights], dim=1)

    def score(self, state: Tensor, sigma: Tensor) -> Tensor:
        """The score at the state for σ (), of the state's shape."""
        return self.assess(state, sigma)[0]

    def assess(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The score, and ‖m - A D‖²/σ² (B,) or L (B, F) for the estimates D before they are reconciled."""
        x = self.sources(state)
        mean, variance = self._denoised(x, sigma)
        mean = self._bounded(mean)
        gap = self._mixture - self._mixing(mean)
        pull: Tensor = (self._reconciled(mean, variance, gap) - x) / sigma**2
        charge = local_misfit(gap, self._spread(variance), self._local) if self._local else misfit(gap, sigma)
        return (pull if self._whole else self._null.coordinates(pull)), charge

    def sources(self, state: Tensor) -> Tensor:
        """The sources (B, K, C, *D) of a state; unless noise is isotropic their sum is the mixture."""
        return state if self._whole else self._null.lift(state, self._mixture)

    def consistent(self, mean: Tensor, variance: Tensor) -> Tensor:
        """h: estimates (B, K, C, *D) moved towards the mixture, most where their variance is largest."""
        mean = self._bounded(mean)
        return self._reconciled(mean, variance, self._mixture - self._mixing(mean))

    def _bounded(self, mean: Tensor) -> Tensor:
        return mean if self._bounds is None else mean.clamp(*self._bounds)

    def _reconciled(self, mean: Tensor, variance: Tensor, gap: Tensor) -> Tensor:
        way = self._way(variance)
        total = self._mixing(way)
        noise: Tensor | float = self._noise / total if self._alike else self._noise
        free = mean + way * (gap / (total + noise))[:, None]
        if self._bounds is None:
            return free
        bounded, reached = meet(mean, way, self._mixing, self._mixture, self._bounds, noise)
        return torch.where(reached[:, None], bounded, free)

    def _way(self, variance: Tensor) -> Tensor:
        """d (B, K, C, *D), along which the sources are moved."""
        if self._alike:
            return variance.sqrt()
        return self._mixing.adjoint(torch.ones_like(self._mixture)) * variance

    def _spread(self, variance: Tensor) -> Tensor:
        """v (B, C, *D), the variance of the mixture given x."""
        total = self._mixing(self._way(variance))
        return (total.square() if self._alike else total) + self._noise

    def _denoised(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        if self._moments is not None:
            return self._moments(x, sigma)
        variance = (sigma**2).expand_as(x)
        return x + variance * self._prior.score(x, sigma), variance


def _complement(a: Tensor) -> Tensor:
    """An orthonormal basis (K, K-1) of what is orthogonal to a (K,), by Householder's reflection."""
    v = a / a.norm()
    v[0] += 1.0 if v[0] >= 0 else -1.0
    reflection: Tensor = torch.eye(len(a), dtype=a.dtype) - 2.0 * torch.outer(v, v) / v.square().sum()
    return reflection[:, 1:].contiguous()


def _combine(matrix: Tensor, x: Tensor) -> Tensor:
    """A matrix (J, K) applied over the sources of x (B, K, C, *D): (B, J, C, *D)."""
    return torch.einsum("jk,bk...->bj...", matrix.to(x), x)
