"""More than two sources: pairs of them are sampled in turn, given the others.

A table of two sources suffices for any number of them, and nothing is marginalized. With all but sources i
and j fixed, what remains of the mixture is a mixture of two,

    r_ij = m - Σ_{k ≠ i, j} x_k,

whose tokens are proposed by LASS; of N proposals and the present pair, the best by

    ‖m - Σ x_k‖² / (2 s²) - Σ log p(z_k)

goes on, so that this cost never rises. Every sample is the best of several chains, which begin with empty
sources and choose their first pairs by chance.

Source: Postolache et al. 2023 (LASS) for two sources. Block-wise maximization of a posterior: Besag 1986, "On
    the Statistical Analysis of Dirty Pictures".
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sepcli.protocols import Codec, ProgressCallback, TokenPosterior, TokenPrior
from sepcli.samplers.ancestral import Ancestral
from sepcli.samplers.construct import TokenSampler


class Chains(NamedTuple):
    """The present sources of W chains.

    Attributes:
        tokens: z_k (W, K, L), int64.
        decoded: x_k (W, K, C, *D).
        log_prior: log p(z_k) (W, K), in nats.
    """

    tokens: Tensor
    decoded: Tensor
    log_prior: Tensor


@dataclass(frozen=True)
class PairSweeps:
    """Search for the sources of mixtures m = Σ x_k, by pairs.

    Attributes:
        codec: signals (B, C, *D) ↔ tokens (B, L).
        prior_of: (indices of sources) → their prior side by side.
        posterior_of: (signals r (W, C, *D), indices i and j) → the posterior of tokens given r = x_i + x_j.
        sampler: proposes pairs.
        count: K.
        sweeps: number of times that every pair is sampled.
        chains: chains per sample.
        proposals: N per chain; a search proposes as many as it keeps, at most N.
        noise: s; 0: by the first term alone.
    """

    codec: Codec
    prior_of: Callable[[tuple[int, ...]], TokenPrior]
    posterior_of: Callable[[Tensor, tuple[int, int]], TokenPosterior]
    sampler: TokenSampler
    count: int
    sweeps: int
    chains: int
    proposals: int
    noise: float

    def __call__(
        self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> tuple[Tensor, Tensor]:
        """Search for the sources of mixtures (B, C, *D), for seeds (B, S), int64.

        Returns:
            Tokens (B, S, K, L) of the best chain of every sample, and their costs (B, S).
        """
        each = seeds.shape[1] * self.chains
        goal = mixture.repeat_interleave(each, dim=0)
        rngs = [
            np.random.default_rng([seed % (1 << 64), chain])
            for seed in seeds.flatten().tolist()
            for chain in range(self.chains)
        ]
        present = self._empty(goal)
        costs = self._costs(goal, present)
        moves = list(itertools.combinations(range(self.count), 2)) * self.sweeps
        for step, pair in enumerate(moves):
            proposal_seeds = torch.from_numpy(
                np.stack([rng.integers(1 << 62, size=self.proposals) for rng in rngs])
            )
            present, costs = self._move(goal, present, costs, pair, proposal_seeds)
            if on_progress is not None:
                on_progress(step + 1, len(moves))
        grouped = costs.view(*seeds.shape, self.chains)
        best = grouped.argmin(-1) + self.chains * torch.arange(seeds.numel(), device=costs.device).view(
            seeds.shape
        )
        return present.tokens[best], costs[best]

    def _empty(self, goal: Tensor) -> Chains:
        """Begin with sources that are zero."""
        tokens = self.codec.encode(torch.zeros_like(goal[:1]))[:, None].expand(1, self.count, -1)
        log_prior = [self.prior_of((k,)).log_prob(tokens[:, :1]) for k in range(self.count)]
        alone = Chains(tokens, self._decode(tokens, goal.shape[-1]), torch.stack(log_prior, dim=1))
        return Chains(*(part.expand(len(goal), *part.shape[1:]) for part in alone))

    def _move(
        self, goal: Tensor, present: Chains, costs: Tensor, pair: tuple[int, int], seeds: Tensor
    ) -> tuple[Chains, Tensor]:
        """Propose tokens of a pair of sources to W chains; return the chains and their costs (W,)."""
        first, second = pair
        both = present.decoded[:, first] + present.decoded[:, second]
        left = goal - present.decoded.sum(1) + both
        proposed = self._propose(self.posterior_of(left, pair), seeds)
        windows, proposals = proposed.shape[:2]
        rows = proposed.transpose(2, 3).flatten(0, 1)
        fresh = Chains(rows, self._decode(rows, goal.shape[-1]), self._log_prior(rows, pair))
        error = (left[:, None] - fresh.decoded.sum(1).view(windows, proposals, *left.shape[1:])).square()
        others = present.log_prior.sum(1) - present.log_prior[:, first] - present.log_prior[:, second]
        log_prior = fresh.log_prior.sum(1).view(windows, proposals) + others[:, None]
        lowest, at = self._combine(error.flatten(2).sum(-1), log_prior).min(1)
        better = lowest < costs
        chosen = at + proposals * torch.arange(windows, device=at.device)
        parts = []
        for before, after in zip(present, fresh, strict=True):
            changed = before.clone()
            changed[:, pair] = after[chosen]
            parts.append(torch.where(better.view(-1, *[1] * (before.dim() - 1)), changed, before))
        return Chains(*parts), torch.where(better, lowest, costs)

    def _propose(self, posterior: TokenPosterior, seeds: Tensor) -> Tensor:
        """Propose tokens (W, N, L, 2), for seeds (W, N); a search has no more than it keeps."""
        if isinstance(self.sampler, Ancestral):
            return self.sampler(posterior, seeds).tokens
        return self.sampler(posterior, seeds[:, :1]).tokens[:, : self.proposals]

    def _costs(self, goal: Tensor, chains: Chains) -> Tensor:
        """Costs (W,) of chains."""
        error = (goal - chains.decoded.sum(1)).square().flatten(1).sum(-1)
        return self._combine(error, chains.log_prior.sum(1))

    def _combine(self, error: Tensor, log_prior: Tensor) -> Tensor:
        return error if self.noise == 0 else error / (2 * self.noise**2) - log_prior

    def _log_prior(self, tokens: Tensor, pair: tuple[int, int]) -> Tensor:
        """log p (R, 2), in nats, of tokens (R, 2, L) of a pair of sources."""
        return torch.stack(
            [self.prior_of((k,)).log_prob(tokens[:, n : n + 1]) for n, k in enumerate(pair)], 1
        )

    def _decode(self, tokens: Tensor, length: int) -> Tensor:
        """Tokens (R, k, L) to sources (R, k, C, *D) of a length in samples, or columns."""
        signals = self.codec.decode(tokens.flatten(0, 1))[..., :length]
        return signals.reshape(*tokens.shape[:2], *signals.shape[1:])
