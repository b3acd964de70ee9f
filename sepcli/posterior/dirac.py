"""The posterior given an exact mixture: only the K-1 directions that the mixture leaves open are sampled.

The sources that sum to m form an affine space. With a = (α_1 … α_K), ‖a‖² = Σ α_k² and an orthonormal basis N
(K, K-1) of the vectors orthogonal to a, every point of it is x = a m/‖a‖² + N z, and A x = m for every z.
With the prior's denoiser D and the variance C of x_0 given x,

    h_k = D_k + α_k C_k (m - Σ_j α_j D_j) / (Σ_j α_j² C_j + σ_y²)
    score(z) = Nᵀ (h - x)/σ²

For Gaussian sources with variance C, h = E[x_0 | x, m], and the score is exactly that of the posterior with
noise of standard deviation σ on z. For a prior without a variance C = σ²; the score is then Nᵀ ∇ log p_σ(x).
It is exact where all sources are equally uncertain and tends to the posterior's for σ → 0.

Options:
    isotropic: The state is x, with noise along a, too, and the score is (h - x)/σ², that of p_σ(x | m). Noise
        on z alone lacks α_k²/‖a‖² of the variance σ² on x_k that a denoiser expects, and a prior that infers
        loudness from the contrast with the noise underestimates it. h satisfies the constraint, and so does
        the final state of a sampler.
    sigma_y: The mixture contains noise N(0, σ_y²); the noise of the state is isotropic then.
    alike: The errors of the sources are fully correlated, C_jk = √(C_j C_k), as those of an image's channels
        are: h_k = D_k + √C_k S (m - Σ_j α_j D_j)/(S² + σ_y²), S = Σ_j α_j √C_j. With independent errors
        most of the correction of the gray would go to the channel of the greatest weight.
    bounds: The clean sources lie in [low, high]. D is clipped, and h_k = clip(D_k + λ d_k), d_k = α_k C_k (or
        √C_k), with the λ that meets the mixture: for independent errors the projection, in the metric of C,
        onto a convex set that holds the true sources.
    local: The misfit is a value per frame, since distant seconds of a signal are decided independently,
        L = Σ (m - A D)²/v + ln v, v = Σ_k α_k² C_k + σ_y² (S² + σ_y² if alike), summed over bands and
        averaged over neighboring frames. For independent Gaussian sources with variance C it is -2 ln p(m |
        x) + constant.

Source: Mariani et al. 2023 (multi-source diffusion), section 3.3, whose Dirac posterior takes x_K = m - Σ
    x_k; the symmetric form, the weights C and σ_y go beyond it (Kalman's update of independent Gaussians).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sepcli.errors import PriorError, UsageError
from sepcli.posterior.box_projection import project
from sepcli.posterior.gaussian import MIN_VARIANCE, check_mixture, local_misfit, misfit
from sepcli.posterior.jacobian import JacobianSolver
from sepcli.posterior.null_space import NullSpace
from sepcli.protocols import ScorePrior, Twisted
from sepcli.signal.mixing import WeightedSum

Moments = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(x (B, K, C, *D), σ ()) → mean D and variance C of the clean sources, each of the shape of x."""


class DiracPosterior:
    """p(x | m) on the constraint; fulfils ``sepcli.protocols.Posterior``.

    The state is z (B, K-1, C, *D), or the sources (B, K, C, *D) if the noise is isotropic.

    Args:
        prior: p_σ(x) of the K sources side by side.
        mixing: A, for K ≥ 2 sources.
        mixture: m (B, C, *D).
        moments: returns D and C; replaces the score of ``prior``, and weighs the sources by their
            uncertainty.
        sigma_y: σ_y, the standard deviation of the mixture's noise.
        isotropic: whether there is noise in all directions, including the one that the mixture fixes.
        alike: whether the errors of the sources' estimates are fully correlated instead of independent.
        bounds: (low, high) of the clean sources' values, where these can sum to the mixture.
        local: 0: one misfit per item; w > 0: one per position of the last axis, L averaged over w positions
            to either side.
        from_mixture: whether sampling starts from m/α_k in every source instead of zeros, for priors that
            extract their source from the mixture.
        products: 0: C alone; n > 0: the covariance of the clean sources from the denoiser's Jacobian, by n
            vector-Jacobian products per evaluation (see ``sepcli.posterior.jacobian``). C distributes what
            they leave of the residual.

    Raises:
        UsageError: σ_y or w is negative, the weights are not those of a mixture, correlated errors with a
            weight that is not positive, low ≥ high, or ``from_mixture`` without isotropic noise or with a
            weight of 0.
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
        products: int = 0,
    ) -> None:
        if not 0.0 <= sigma_y < float("inf"):
            raise UsageError(
                f"sigma_y is {sigma_y}",
                "use 0 for an exact mixture, or a positive number",
                argument="settings.sigma_y",
            )
        if alike and min(mixing.weights) <= 0.0:
            raise UsageError(
                "alike needs positive weights", "use independent errors (alike=0)", argument="settings.alike"
            )
        if bounds is not None and not bounds[0] < bounds[1]:
            raise UsageError(
                f"bounds {bounds[0]} and {bounds[1]} are not in order", "give the lower value first"
            )
        if local < 0:
            raise UsageError(
                f"local is {local}",
                "use 0 for one misfit per item, or a number of frames",
                argument="settings.local",
            )
        if from_mixture and not ((isotropic or sigma_y > 0.0) and all(mixing.weights)):
            raise UsageError(
                "from_mixture needs isotropic noise and non-zero weights",
                "add isotropic=1, or leave out from_mixture=1",
                argument="settings.from_mixture",
            )
        check_mixture(mixture)
        self._prior, self._mixing, self._mixture, self._moments = prior, mixing, mixture, moments
        self._noise, self._isotropic, self._alike = sigma_y**2, isotropic or sigma_y > 0.0, alike
        self._bounds, self._local, self._from_mixture = bounds, local, from_mixture
        self._null = NullSpace(mixing.weights)
        self._solver = JacobianSolver(mixing, products, self._noise) if products else None

    @property
    def like(self) -> Tensor:
        """An empty tensor of the state's shape, type and device."""
        batch, *signal = self._mixture.shape
        return self._mixture.new_empty((batch, self._null.free + self._isotropic, *signal))

    @property
    def start(self) -> Tensor:
        """m/α_k for every source k with ``from_mixture``, otherwise zeros."""
        if not self._from_mixture:
            return torch.zeros_like(self.like)
        return torch.stack([self._mixture / weight for weight in self._mixing.weights], dim=1)

    def score(self, state: Tensor, sigma: Tensor) -> Tensor:
        """Return the score at the state for σ (), of the state's shape."""
        return self.assess(state, sigma)[0]

    def assess(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score, and the misfit ‖m - A D‖²/σ² (B,) or L (B, F) of the prior's estimates D."""
        x = self.sources(state)
        _, estimate, residual, variance, _ = self._estimates(x, sigma)
        score: Tensor = (estimate - x) / sigma**2
        if self._local:
            cost = local_misfit(residual, self._mixture_variance(variance), self._local)
        else:
            cost = misfit(residual, sigma)
        return (score if self._isotropic else self._null.coordinates(score)), cost

    def twisted(self, state: Tensor, sigma: Tensor) -> Twisted:
        """Return h, D and log N(m; A D, V) (B,) at sources (B, K, C, *D), with isotropic noise.

        V is the variance v of independent values, or A Cov Aᵀ + σ_y² from the Jacobian, whose determinant is
        taken to be the same at all states of a noise level.

        Raises:
            UsageError: the mixture has no noise.
        """
        if not self._noise:
            raise UsageError(
                "particles need a mixture with noise", "set sigma_y > 0", argument="settings.sigma_y"
            )
        mean, estimate, residual, variance, solution = self._estimates(state, sigma)
        v = self._mixture_variance(variance).clamp(min=MIN_VARIANCE)
        terms = residual.square() / v + v.log() if solution is None else residual * solution
        return Twisted(estimate, mean, -0.5 * terms.flatten(1).sum(1))

    def _estimates(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        """Return D, h, m - A D, C, and with the Jacobian (A Cov Aᵀ + σ_y²)⁻¹ (m - A D), at sources x."""
        with torch.set_grad_enabled(self._solver is not None):
            x = x.detach().requires_grad_() if self._solver is not None else x
            mean, variance = self._denoised(x, sigma)
        clipped, variance = self._clipped(mean.detach()), variance.detach()
        residual = left = self._mixture - self._mixing(clipped)
        moved, solution = clipped, None
        if self._solver is not None:
            scale = self._mixture_variance(variance).clamp(min=MIN_VARIANCE)
            step, left, solution = self._solver.correct(x, mean, residual, scale, sigma)
            moved, solution = clipped + step, solution + left / scale
        return clipped, self._posterior_mean(moved, variance, left), residual, variance, solution

    def sources(self, state: Tensor) -> Tensor:
        """Return the sources (B, K, C, *D) of a state, which sum to the mixture unless noise is isotropic."""
        return state if self._isotropic else self._null.lift(state, self._mixture)

    def state(self, sources: Tensor) -> Tensor:
        """Return the state that stands for sources (B, K, C, *D) which sum to the mixture."""
        return sources if self._isotropic else self._null.coordinates(sources)

    def consistent(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Return h: estimates (B, K, C, *D) moved towards the mixture in proportion to their variance."""
        mean = self._clipped(mean)
        return self._posterior_mean(mean, variance, self._mixture - self._mixing(mean))

    def _clipped(self, mean: Tensor) -> Tensor:
        return mean if self._bounds is None else mean.clamp(*self._bounds)

    def _posterior_mean(self, mean: Tensor, variance: Tensor, residual: Tensor) -> Tensor:
        direction = self._direction(variance)
        total = self._mixing(direction)
        noise: Tensor | float = self._noise / total if self._alike else self._noise
        unbounded = mean + direction * (residual / (total + noise))[:, None]
        if self._bounds is None:
            return unbounded
        bounded, feasible = project(mean, direction, self._mixing, self._mixture, self._bounds, noise)
        return torch.where(feasible[:, None], bounded, unbounded)

    def _direction(self, variance: Tensor) -> Tensor:
        """Return d (B, K, C, *D), the direction in which the sources are corrected."""
        if self._alike:
            return variance.sqrt()
        return self._mixing.adjoint(torch.ones_like(self._mixture)) * variance

    def _mixture_variance(self, variance: Tensor) -> Tensor:
        """Return v (B, C, *D), the variance of the mixture given x."""
        total = self._mixing(self._direction(variance))
        return (total.square() if self._alike else total) + self._noise

    def _denoised(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        if self._moments is not None:
            result, variance = self._moments(x, sigma)
            mean = result
        else:
            result, variance = self._prior.score(x, sigma), (sigma**2).expand_as(x)
            mean = x + variance * result
        if self._solver is not None and not result.requires_grad:
            raise PriorError(
                "the prior is not a differentiable function of its input",
                "use moments=diagonal, or compute the prior without torch.no_grad",
                argument="settings.moments",
            )
        return mean, variance
