"""The joint step of K sources whose codes are sums of levels: p(c_1 … c_K | mixture) at level q of a frame.

The latent h_m of the mixture is taken for the weighted sum of the sources' latents. What the levels before q
left of it,

    r_q = h_m - Σ_k α_k Σ_{j<q} e_k^j,

is to be explained by level q, with the variance s_q² of what level q leaves:

    p(c_1 … c_K) ∝ exp(-λ ‖r_q - Σ_k α_k e^q(c_k)‖² / (2 s_q²)) Π_k p_k(c_k).

This is an approximation: an encoder is no linear map, and the latent of a sum is not the sum of the latents.
The codes of a source are those that its prior finds likeliest, a shortlist. Two sources are decided jointly;
more of them by Gibbs sampling of pairs, given the others.

Source: after Postolache et al. 2023 (LASS), whose likelihood is a table of one codebook; the latent
    likelihood goes beyond it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sepcli.samplers.hypotheses import best

Choose = Callable[[Tensor, int], Tensor]
"""(Log-probabilities of candidates (R, A, N), up to constants; number of the decision) → choices (R, A)."""


class Decisions(NamedTuple):
    """A decisions of R rows: level q of a frame each.

    Attributes:
        rest: r_q (R, A, D).
        log_prior: log p_k (R, A, K, V).
        codes: e^q (A, V, D).
        weights: α_k (K,).
        precision: λ / s_q² (R, A).
    """

    rest: Tensor
    log_prior: Tensor
    codes: Tensor
    weights: Tensor
    precision: Tensor

    def decide(self, shortlist: int, sweeps: int, choose: Choose) -> tuple[Tensor, Tensor]:
        """Choose the codes.

        Args:
            shortlist: codes of a source.
            sweeps: number of times that every pair of more than two sources is decided, which begin with the
                likeliest codes of their priors.
            choose: see ``Choose``.

        Returns:
            Codes (R, A, K), int64, and what they leave of r_q (R, A, D).
        """
        listed = best(self.log_prior, shortlist)
        log_prior = self.log_prior.gather(-1, listed)
        levels = torch.arange(len(self.codes), device=listed.device)[:, None, None]
        vectors = self.weights[:, None, None] * self.codes[levels, listed]  # (R, A, K, n, D)
        number, indices = listed.shape[-1], torch.zeros_like(listed[..., 0])
        for move, pair in enumerate(pair_moves(len(self.weights), sweeps)):
            both = list(pair)
            others = [k for k in range(len(self.weights)) if k not in pair]
            left = self.rest - picked(vectors[:, :, others], indices[..., others]).sum(-2)
            scores = pair_log_prob(left, log_prior[:, :, both], vectors[:, :, both], self.precision)
            choice = choose(scores, move)
            indices[..., pair[0]], indices[..., pair[1]] = choice // number, choice % number
        chosen = listed.gather(-1, indices[..., None])[..., 0]
        return chosen, self.rest - picked(vectors, indices).sum(-2)


def pair_moves(sources: int, sweeps: int) -> list[tuple[int, int]]:
    """Return the pairs of sources that are decided, in order: of two sources one."""
    pairs = list(itertools.combinations(range(sources), 2))
    return pairs if sources == 2 else pairs * sweeps


def picked(vectors: Tensor, indices: Tensor) -> Tensor:
    """Return the vectors (..., K, D) at indices (..., K) of lists (..., K, n, D)."""
    expanded = indices[..., None, None].expand(*indices.shape, 1, vectors.shape[-1])
    return vectors.gather(-2, expanded)[..., 0, :]


def pair_log_prob(rest: Tensor, log_prior: Tensor, vectors: Tensor, precision: Tensor) -> Tensor:
    """Return the log-probabilities of all pairs of two lists of n codes, up to a constant.

    Args:
        rest: r (..., D).
        log_prior: log p_k of the codes (..., 2, n).
        vectors: α_k e(c_k) (..., 2, n, D).
        precision: λ / s² (...).

    Returns:
        (..., n · n); pair (a, b) is at a · n + b.
    """
    fitting = (vectors @ rest[..., None, :, None]).squeeze(-1) - 0.5 * vectors.square().sum(-1)
    alone = log_prior + precision[..., None, None] * fitting
    first, second = vectors.unbind(-3)
    together = precision[..., None, None] * (first @ second.transpose(-1, -2))
    return (alone[..., 0, :, None] + alone[..., 1, None, :] - together).flatten(-2)
