"""Posterior samples of images: sampling, alignment of their sources, summary and ranking.

Letters as in ``sepcli.protocols``, and S samples. Sources are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.errors import SepError
from sepcli.metrics.assignment import best_permutation
from sepcli.protocols import Engine, ProgressCallback

STEP = 1 / 255
"""One step of 8 bits. Mixture and weighted sum of the sources are each rounded by half of it at most."""
_RULE = (
    "samples whose residual_rms exceeds the least one by more than 1/255 last; then by log prior (of a"
    " density itself, else a bound){}, or by agreement where there is none; then by residual_rms"
)
RULE, COLOR_RULE = (
    _RULE.format(""),
    _RULE.format(" beside what is expected at the sample's chroma, of two samples by chroma"),
)
"""Descriptions of ``rank`` for records; colors: see ``sepcli.separation.colorize.at_equal_chroma``."""


@dataclass(frozen=True)
class RankedSamples:
    """Samples of one mixture, the best first.

    Attributes:
        samples: (S, K, C, *D), sources in one order.
        order: (S,) where each sample was before it was ranked.
        residual: (S,) root mean square of m - Σ w_k x_k.
        agreement: (S,) dB; see ``agreement``.
        log_prior: (S,) nats, up to a constant; None: the prior has none.
        medoid: the sample with the least mean squared distance to the others.
    """

    samples: Tensor
    order: tuple[int, ...]
    residual: Tensor
    agreement: Tensor
    log_prior: Tensor | None
    medoid: int

    @property
    def mean(self) -> Tensor:
        """(K, C, *D), the estimate of least mean squared error if the samples are the posterior's."""
        return self.samples.mean(0)

    @property
    def std(self) -> Tensor:
        """(K, C, *D), the standard deviation of every value over S ≥ 2 samples."""
        return self.samples.std(0)


def sample_images(
    engine: Engine,
    mixtures: Tensor,
    seeds: Tensor,
    groups: Sequence[Hashable],
    on_progress: ProgressCallback | None = None,
) -> list[RankedSamples]:
    """Separate mixtures of images (B, C, H, W), float32; seeds are (B, S), groups those of ``align``.

    Raises:
        SepError: the samples are not finite.
    """
    results = []
    for mixture, samples in zip(mixtures, finite(engine.sample(mixtures, seeds, on_progress)), strict=True):
        aligned = align(samples, groups)
        log_prior = engine.log_prior(aligned) if len(aligned) > 1 else None
        results.append(ranked(aligned, mixture, engine.weights, log_prior))
    return results


def finite(samples: Tensor) -> Tensor:
    """Return samples of images, clipped to [0, 1].

    Raises:
        SepError: they are not finite.
    """
    if not torch.isfinite(samples).all():
        raise SepError("the samples are not finite", "use more steps, or another sampler or prior")
    return samples.clamp(0, 1)


def ranked(
    samples: Tensor,
    mixture: Tensor,
    weights: Sequence[float],
    log_prior: Tensor | None = None,
    merit: Tensor | None = None,
) -> RankedSamples:
    """Rank samples (S, K, C, *D) of a mixture (C, *D), the best first; see ``align`` and ``rank``.

    By ``merit`` (S,) where it is given, instead of the log prior (S,).
    """
    apart = distances(samples)
    agreed = agreement(apart)
    left = mixture - torch.einsum("sk...,k->s...", samples, torch.tensor(list(weights)).to(samples))
    residual = left.double().square().flatten(1).mean(1).sqrt()
    order = rank(residual, agreed, log_prior if merit is None else merit)
    index = torch.tensor(order)
    return RankedSamples(
        samples[index],
        order,
        residual[index],
        agreed[index],
        None if log_prior is None else log_prior[index],
        order.index(medoid(apart)),
    )


def rank(residual: Tensor, agreement: Tensor, log_prior: Tensor | None = None) -> tuple[int, ...]:
    """Return the order of samples, best first, by the fields of ``RankedSamples``, each (S,).

    A sample that explains the mixture worse than another by more than a step of 8 bits follows all that do
    not: its residual exceeds the least one by more than ``STEP``. Otherwise the greater log prior is better,
    or the greater agreement where there is no log prior, and of equals the smaller residual. NaN is last.
    """
    merit = torch.nan_to_num(agreement if log_prior is None else log_prior, nan=-torch.inf).tolist()
    rest = torch.nan_to_num(residual, nan=torch.inf).tolist()
    limit = min(rest) + STEP
    return tuple(sorted(range(len(rest)), key=lambda s: (rest[s] > limit, -merit[s], rest[s])))


def align(samples: Tensor, groups: Sequence[Hashable]) -> Tensor:
    """Bring interchangeable sources into the same order in all samples.

    Sources of one prior, one class and one weight may be exchanged without changing the posterior, so that
    their order differs between samples, and means over samples mean nothing. Within each group the order is
    taken that has the least squared distance to a reference: first the first sample, then the medoid.

    Args:
        samples: (S, K, C, *D).
        groups: per source, of what kind it is: those of equal kinds are interchangeable.
    """
    near_first = _align_to(samples[0], samples, groups)
    return _align_to(near_first[medoid(distances(near_first))], near_first, groups)


def distances(samples: Tensor) -> Tensor:
    """Mean squared difference of every sample (S, ...) to every other, (S, S)."""
    return torch.stack([(samples - sample).square().flatten(1).mean(1) for sample in samples])


def medoid(distances: Tensor) -> int:
    """The sample with the least mean distance (S, S) to the others; the first of equals."""
    return int(distances.sum(1).argmin())


def agreement(distances: Tensor) -> Tensor:
    """PSNR (S,) of every sample with respect to the others, 10 log10(1/mean squared distance (S, S) to them).

    In dB, for values in [0, 1]; inf where all samples are equal, NaN for a single one.
    """
    return -10.0 * (distances.double().sum(1) / (len(distances) - 1)).log10()


def _align_to(reference: Tensor, samples: Tensor, groups: Sequence[Hashable]) -> Tensor:
    members = [[k for k, kind in enumerate(groups) if kind == one] for one in dict.fromkeys(groups)]
    orders = torch.arange(samples.shape[1]).repeat(len(samples), 1)
    for order, sample in zip(orders, samples, strict=True):
        for group in members:
            apart = torch.cdist(reference[group].flatten(1), sample[group].flatten(1)).square()
            order[group] = torch.tensor(group)[list(best_permutation(-apart.cpu().numpy()))]
    return torch.stack([sample[order] for sample, order in zip(samples, orders, strict=True)])
