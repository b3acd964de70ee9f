"""Several posterior draws of one mixture: brought into one order, summed up and ranked.

Letters as in ``sepcli.protocols``, and S draws. Sources are in [0, 1], as images are.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.metrics.assignment import best_permutation

STEP = 1 / 255
"""One step of 8 bits. Mixture and weighted sum of the sources are each rounded by half of it at most."""
RULE = (
    "draws whose residual_rms exceeds the least one by more than 1/255 last; "
    "then by log prior (of a density itself, else a bound), or by agreement where there is none; "
    "then by residual_rms"
)
"""What ``rank`` does, for people."""


@dataclass(frozen=True)
class RankedSamples:
    """Draws of one mixture, the best first.

    Attributes:
        samples: (S, K, C, *D), sources in one order.
        order: (S,) where each sample was before it was ranked.
        residual: (S,) root mean square of m - Σ w_k x_k.
        agreement: (S,) dB; see ``agreement``.
        log_prior: (S,) nats, up to a constant; None: the prior has none.
        medoid: the draw with the least mean squared distance to the others.
    """

    samples: Tensor
    order: tuple[int, ...]
    residual: Tensor
    agreement: Tensor
    log_prior: Tensor | None
    medoid: int

    @property
    def mean(self) -> Tensor:
        """(K, C, *D), the estimate of least mean squared error if the draws are the posterior's."""
        return self.samples.mean(0)

    @property
    def std(self) -> Tensor:
        """(K, C, *D), the standard deviation of every value over S ≥ 2 draws."""
        return self.samples.std(0)


def ranked(
    draws: Tensor, mixture: Tensor, weights: Sequence[float], log_prior: Tensor | None = None
) -> RankedSamples:
    """Judge draws and bring the best to the front; see ``rank``.

    Args:
        draws: (S, K, C, *D), their sources in one order (``align``).
        mixture: (C, *D).
        weights: w_k of the mixture Σ w_k x_k.
        log_prior: (S,), up to a constant.
    """
    apart = distances(draws)
    agreed = agreement(apart)
    left = mixture - torch.einsum("sk...,k->s...", draws, torch.tensor(list(weights)).to(draws))
    residual = left.double().square().flatten(1).mean(1).sqrt()
    order = rank(residual, agreed, log_prior)
    index = torch.tensor(order)
    return RankedSamples(
        draws[index],
        order,
        residual[index],
        agreed[index],
        None if log_prior is None else log_prior[index],
        order.index(medoid(apart)),
    )


def rank(residual: Tensor, agreement: Tensor, log_prior: Tensor | None = None) -> tuple[int, ...]:
    """The order of draws, best first.

    A draw that explains the mixture worse than another by more than 8 bits can hide is behind all that do
    not: its residual exceeds the least one by more than ``STEP``. Otherwise the greater log prior is better,
    or the greater agreement where there is no log prior, and of equals the smaller residual. NaN is last.

    Args:
        residual: (S,) root mean square of m - Σ w_k x_k, for values in [0, 1].
        agreement: (S,) dB.
        log_prior: (S,), up to a constant.

    Returns:
        S indices.
    """
    merit = torch.nan_to_num(agreement if log_prior is None else log_prior, nan=-torch.inf).tolist()
    rest = torch.nan_to_num(residual, nan=torch.inf).tolist()
    limit = min(rest) + STEP
    return tuple(sorted(range(len(rest)), key=lambda s: (rest[s] > limit, -merit[s], rest[s])))


def align(draws: Tensor, groups: Sequence[Hashable]) -> Tensor:
    """Bring interchangeable sources into the same order in all draws.

    Sources of one prior, one class and one weight may be exchanged without changing the posterior, so that
    every draw has them in an order of its own, and means over draws mean nothing. Within each group the
    order is taken that has the least squared distance to a reference: first the first draw, then the medoid.

    Args:
        draws: (S, K, C, *D).
        groups: per source, of what kind it is: those of equal kinds are interchangeable.

    Returns:
        (S, K, C, *D).
    """
    near_first = _align_to(draws[0], draws, groups)
    return _align_to(near_first[medoid(distances(near_first))], near_first, groups)


def distances(draws: Tensor) -> Tensor:
    """Mean squared difference of every draw (S, ...) to every other, (S, S)."""
    return torch.stack([(draws - draw).square().flatten(1).mean(1) for draw in draws])


def medoid(distances: Tensor) -> int:
    """The draw with the least mean distance (S, S) to the others; the first of equals."""
    return int(distances.sum(1).argmin())


def agreement(distances: Tensor) -> Tensor:
    """PSNR of every draw, the others taken for the truth: 10 log10(1/mean squared distance to them).

    Args:
        distances: (S, S) mean squared differences of values in [0, 1].

    Returns:
        (S,) in dB; inf where all draws are equal, NaN for a single one.
    """
    return -10.0 * (distances.double().sum(1) / (len(distances) - 1)).log10()


def _align_to(reference: Tensor, draws: Tensor, groups: Sequence[Hashable]) -> Tensor:
    members = [[k for k, kind in enumerate(groups) if kind == one] for one in dict.fromkeys(groups)]
    orders = torch.arange(draws.shape[1]).repeat(len(draws), 1)
    for order, draw in zip(orders, draws, strict=True):
        for own in members:
            apart = torch.cdist(reference[own].flatten(1), draw[own].flatten(1)).square()
            order[own] = torch.tensor(own)[list(best_permutation(-apart.cpu().numpy()))]
    return torch.stack([draw[order] for draw, order in zip(draws, orders, strict=True)])
