"""Whether what a result reports of its uncertainty holds: standard deviations, and confidence per second.

With the mean x̄ of S samples, their variance v, and a truth that is one more sample of the same posterior,

    E (x̄ - x*)² = (1 + 1/S) v

so that (x̄ - x*)/√((1 + 1/S) v) of normal values has Student's t distribution of S - 1 degrees of freedom, and
a confidence, 10 log10 of power over variance, attains 10 log10 of power over (x̄ - x*)²/(1 + 1/S). Among the
truth and the samples, each compared with the mean of the S others, every one is the farthest equally often.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from sepcli.separation.spread import QUIET, SURE

LEVEL = 0.9
"""Nominal coverage of intervals of the standard deviation."""
LEAST = 1e-30


class Confidence(NamedTuple):
    """Confidence of sources and seconds beside the errors there.

    Attributes:
        values: number of seconds of sources that are not silent.
        reported: median of that of the samples, dB, before ``confidence_excess`` lowers it.
        attained: median of what the error of the mean is worth, dB.
        excess: median of reported minus attained, dB; above 0: too confident.
        nominal: share of values whose truth is expected not to be farther away than most samples.
        covered: that share, as measured.
        rank_correlation: Spearman's, of reported and attained; NaN where either is the same everywhere.
    """

    values: int
    reported: float
    attained: float
    excess: float
    nominal: float
    covered: float
    rank_correlation: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready document."""
        return {
            "seconds": self.values,
            "median_db": {"reported": self.reported, "attained": self.attained, "excess": self.excess},
            "coverage": {"nominal": self.nominal, "measured": self.covered},
            "rank_correlation": None if math.isnan(self.rank_correlation) else self.rank_correlation,
        }


def within_deviation(truths: Tensor, samples: Tensor, varying: Tensor) -> float:
    """Return the share of values within mean ± c standard deviations, 90 % of normal ones.

    Args:
        truths: (N, K, C, *D).
        samples: (N, S, K, C, *D).
        varying: like ``truths``; the values that count.
    """
    count = samples.shape[1]
    width = float(stats.t.ppf(0.5 + LEVEL / 2, count - 1)) * math.sqrt(1 + 1 / count)
    apart = (samples.mean(1) - truths).abs()
    return float((apart <= width * samples.std(1))[varying].double().mean())


def confidence_of(truths: Tensor, samples: Tensor, per_second: float) -> Confidence | None:
    """Compare confidence and error per second; None: all is silent.

    Args:
        truths: sources (N, K, C, *D) with time last.
        samples: (N, S, K, C, *D) of their posteriors.
        per_second: positions of the last axis per second.
    """
    count, second = samples.shape[1], np.arange(truths.shape[-1]) // per_second
    groups = torch.from_numpy(second.astype(np.int64))

    def energies(x: Tensor) -> Tensor:
        """Sum the squares of (N, …, K, C, *D) within every second; (N, …, K, seconds)."""
        lead = x.flatten(x.ndim - truths.ndim + 2, -2)
        sums = torch.zeros(*lead.shape[:-2], int(groups[-1]) + 1, dtype=torch.float64)
        return sums.index_add(-1, groups, lead.square().double().sum(-2))

    mean, mixed = samples.mean(1), truths.sum(1, keepdim=True)
    power = energies(samples).mean(1)
    variance = energies(samples - mean[:, None]).sum(1) / (count - 1)
    audible = power > QUIET * energies(mixed)
    if not audible.any():
        return None
    error = energies(mean - truths) / (1 + 1 / count)
    others = energies(samples - (mean + (truths - samples.movedim(1, 0)) / count).movedim(0, 1))
    reported, attained = (_decibels(power, part)[audible] for part in (variance, error))
    cut = max(1, round((1 - LEVEL) * (count + 1)))
    nearer = (others > energies(mean - truths)[:, None]).sum(1)[audible]
    return Confidence(
        int(audible.sum()),
        reported=_median(reported),
        attained=_median(attained),
        excess=_median(reported - attained),
        nominal=1 - cut / (count + 1),
        covered=float((nearer >= cut).double().mean()),
        rank_correlation=_rank_correlation(reported, attained),
    )


def _rank_correlation(one: Tensor, other: Tensor) -> float:
    """Return Spearman's coefficient of values (n,); NaN where either is constant."""
    if any(bool((values == values[0]).all()) for values in (one, other)):
        return math.nan
    return round(float(stats.spearmanr(one.numpy(), other.numpy()).statistic), 3)


def _median(values: Tensor) -> float:
    return round(float(values.median()), 2)


def _decibels(power: Tensor, part: Tensor) -> Tensor:
    """10 log10 of power over a part of it, at most ``SURE``."""
    return -10 * (part / power.clamp(min=LEAST)).clamp(min=10 ** (-SURE / 10)).log10()
