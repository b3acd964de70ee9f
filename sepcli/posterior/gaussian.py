"""The annealed posterior of BASIS: a score prior and a Gaussian likelihood.

    p_σ(x | m) ∝ Π_k p_σ(x_k) · N(m; A x, γ(σ)² I),   γ² = c σ²
    ∇_x log p_σ(x | m) = ∇_x log p_σ(x) + Aᵀ(m - A x) / γ²

Source: Jayaram & Thickstun 2020 (BASIS), equations 4-8 and section 3.2. Algorithm 1 there prints the
    likelihood term with a minus sign, which is an error. The released code differentiates ‖m - A x‖²
    without the factor ½, and its loop for color images multiplies that by 1.5, so that its γ² is σ²/2 and
    σ²/3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from sepcli.errors import InputError, UsageError
from sepcli.protocols import Mixing, ScorePrior

WIDTHS: Mapping[str, float] = {"paper": 1.0, "released-mnist": 1 / 2, "released-color": 1 / 3}
"""Name → c = γ²/σ², of the paper and of the released runs."""
MIN_VARIANCE = 1e-8
"""Floor of the variance of a value of the mixture: 80 dB below full scale."""


class GaussianPosterior:
    """p_σ(x | m) over all K sources; fulfils ``sepcli.protocols.Posterior`` with the sources as its state.

    At noise level σ it is the exact posterior of noisy sources x + σ ε given a mixture with noise
    N(0, c σ²); its limit σ → 0 is the posterior of clean sources.

    Args:
        prior: p_σ(x) of the K sources side by side.
        mixing: A.
        mixture: m (B, C, *D).
        sources: K.
        width: c = γ²/σ²; see ``WIDTHS``.

    Raises:
        UsageError: The width is not positive.
        InputError: The mixture is empty or not finite.
    """

    def __init__(
        self, prior: ScorePrior, mixing: Mixing, mixture: Tensor, sources: int, width: float = 1.0
    ) -> None:
        if not width > 0.0:
            raise UsageError(
                f"width is {width}", "use a positive number; 1 is the paper's", argument="settings.width"
            )
        check_mixture(mixture)
        self._prior, self._mixing, self._mixture, self._width = prior, mixing, mixture, width
        self._sources = sources

    @property
    def like(self) -> Tensor:
        """An empty tensor of the state's shape (B, K, C, *D), type and device."""
        batch, *signal = self._mixture.shape
        return self._mixture.new_empty((batch, self._sources, *signal))

    @property
    def start(self) -> Tensor:
        """Zeros (B, K, C, *D)."""
        return torch.zeros_like(self.like)

    def score(self, state: Tensor, sigma: Tensor) -> Tensor:
        """Return ∇ log p_σ(x | m) at x (B, K, C, *D) for σ ()."""
        return self.assess(state, sigma)[0]

    def assess(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score, and the misfit ‖m - A D‖²/σ² (B,) of D = x + σ² ∇ log p_σ(x)."""
        prior, residual = self._prior.score(state, sigma), self._mixture - self._mixing(state)
        likelihood: Tensor = self._mixing.adjoint(residual) / (self._width * sigma**2)
        return prior + likelihood, misfit(residual - sigma**2 * self._mixing(prior), sigma)

    def sources(self, state: Tensor) -> Tensor:
        """Return the state, which is the sources (B, K, C, *D)."""
        return state


def misfit(residual: Tensor, sigma: Tensor) -> Tensor:
    """Return ‖residual‖²/σ² of every item: (B, C, *D) to (B,)."""
    return residual.flatten(1).square().sum(1) / sigma**2


def local_misfit(residual: Tensor, variance: Tensor, reach: int) -> Tensor:
    """Return -2 ln N(residual; 0, v) + constant (B, F) at the F positions of the last axis of (B, C, *D).

    It is summed over the other axes, with v clipped at ``MIN_VARIANCE``, and averaged over ``reach``
    positions to either side, fewer at the ends.
    """
    v = variance.clamp(min=MIN_VARIANCE)
    per_position = (residual.square() / v + v.log()).flatten(1, -2).sum(1)
    reach = min(reach, per_position.shape[-1] - 1)
    return F.avg_pool1d(per_position, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)


def check_mixture(mixture: Tensor) -> None:
    """Check that a mixture has finite values.

    Raises:
        InputError: The mixture is empty or not finite.
    """
    if not mixture.numel() or not torch.isfinite(mixture).all():
        raise InputError(
            f"a mixture of shape {tuple(mixture.shape)} is empty or not finite",
            "check the file it came from",
            argument="mixture",
        )
