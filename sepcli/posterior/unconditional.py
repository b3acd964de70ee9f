"""The posterior without a mixture: the prior itself, so that every sampler of signals samples it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.protocols import ScorePrior, Twisted


@dataclass(frozen=True)
class Unconditional:
    """p_σ(x); fulfils ``sepcli.protocols.Posterior`` with sources (B, K, C, *D) as its state."""

    prior: ScorePrior
    like: Tensor

    @property
    def start(self) -> Tensor:
        """Zeros of the state's shape."""
        return torch.zeros_like(self.like)

    def score(self, state: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at the state (B, K, C, *D) for σ ()."""
        return self.prior.score(state, sigma)

    def assess(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The score, and no misfit (B,): there is no mixture to explain."""
        return self.score(state, sigma), state.new_zeros(len(state))

    def twisted(self, state: Tensor, sigma: Tensor) -> Twisted:
        """The prior's estimate twice, and no potential (B,): all particles have equal weights."""
        estimate = state + sigma**2 * self.score(state, sigma)
        return Twisted(estimate, estimate, state.new_zeros(len(state)))

    def sources(self, state: Tensor) -> Tensor:
        """The state itself, (B, K, C, *D)."""
        return state
