"""A Gaussian likelihood beside a score prior: the posterior that BASIS anneals.

    p_σ(x | m) ∝ Π_k p_σ(x_k) · N(m; A x, γ(σ)² I),   γ² = c σ²
    ∇_x log p_σ(x | m) = ∇_x log p_σ(x) + Aᵀ(m - A x) / γ²

Source: Jayaram & Thickstun 2020 (BASIS), equations 4-8 and section 3.2. Algorithm 1 there prints the
    likelihood's term with a minus sign, which is a slip. The released code differentiates ‖m - A x‖²
    without the factor ½, and its loop for colors weighs that by 1.5, so that its γ² is σ²/2 and σ²/3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from sepcli.errors import InputError, UsageError
from sepcli.protocols import Mixing, ScorePrior

WIDTHS: Mapping[str, float] = {"paper": 1.0, "released-mnist": 1 / 2, "released-color": 1 / 3}
"""c = γ²/σ² of the paper and of the released runs."""
LEAST = 1e-8
"""Variance of one value of a mixture below which it is not believed: 80 dB below full scale."""


class GaussianPosterior:
    """p_σ(x | m) over all K sources; fulfils ``sepcli.protocols.Posterior`` with the sources as its state.

    At noise level σ it is the exact posterior of sources x + σ ε given a mixture that is known up to N(0, c
    σ²); the posterior of clean sources is its limit σ → 0.

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
            raise UsageError(f"width is {width}", "Use more than 0; 1 is the paper's.")
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
        """∇ log p_σ(x | m) at x (B, K, C, *D) for σ ()."""
        return self.assess(state, sigma)[0]

    def assess(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The score, and ‖m - A D‖²/σ² (B,) for D = x + σ² ∇ log p_σ(x)."""
        prior, gap = self._prior.score(state, sigma), self._mixture - self._mixing(state)
        pull: Tensor = self._mixing.adjoint(gap) / (self._width * sigma**2)
        return prior + pull, misfit(gap - sigma**2 * self._mixing(prior), sigma)

    def sources(self, state: Tensor) -> Tensor:
        """The state is the sources, (B, K, C, *D)."""
        return state


def misfit(gap: Tensor, sigma: Tensor) -> Tensor:
    """‖gap‖²/σ² of every item: (B, C, *D) to (B,)."""
    return gap.flatten(1).square().sum(1) / sigma**2


def local_misfit(gap: Tensor, variance: Tensor, near: int) -> Tensor:
    """-2 ln N(gap; 0, v) + constant, summed over all axes but the last and averaged over what is near.

    Args:
        gap: m - A D (B, C, *D).
        variance: v, like it; at least ``LEAST`` is taken.
        near: how many places of the last axis to either side; fewer where it ends.

    Returns:
        (B, F), F places.
    """
    v = variance.clamp(min=LEAST)
    each = (gap.square() / v + v.log()).flatten(1, -2).sum(1)
    near = min(near, each.shape[-1] - 1)
    return F.avg_pool1d(each, 2 * near + 1, stride=1, padding=near, count_include_pad=False)


def check_mixture(mixture: Tensor) -> None:
    """Refuse mixtures that nothing can be separated from.

    Raises:
        InputError: The mixture is empty or not finite.
    """
    if not mixture.numel() or not torch.isfinite(mixture).all():
        raise InputError(
            f"A mixture of shape {tuple(mixture.shape)} is empty or not finite",
            "Check the file it came from.",
        )
