"""Calibration of posterior samples: are they distributed as the truth is?

The truth x* of every mixture is a sample of the prior, or a recorded one, and x_1 … x_S are samples of the
posterior given its mixture. If these are right, x* is one more sample, so that

* the rank of a scalar of x* among those of the samples is uniform on 0 … S (simulation-based calibration),
* the share of samples that are nearer to a random reference point than x* is uniform (TARP), which is
  sensitive to all values together,
* the central interval between the k-th smallest and k-th largest sample of a value holds that of x* with
  probability 1 - 2 k/(S + 1).

Samples that are too narrow put ranks at both ends, too wide ones in the middle; a bias tilts them.

Source: Talts et al. 2018 (simulation-based calibration); Lemos et al. 2023 (TARP), algorithm 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.evaluation.reported import LEVEL, Confidence, confidence_of, within_deviation

Values = NDArray[np.float64]
FLAT = 1e-3
"""Values whose samples vary by less than this share of the root mean square value are not counted."""
BINS = 10


@dataclass(frozen=True)
class Calibration:
    """Calibration of samples of N mixtures, S of each.

    Attributes:
        ranks: scalar → ranks (N,) of the truth among the samples, 0 … S.
        tarp: (N,) shares of samples that are nearer to the reference than the truth.
        covered: share of values within their central interval.
        nominal: the share that is expected.
        error_ratio: squared error of the mean over its expected value, (1 + 1/S) times the variance of the
            samples; above 1: too narrow.
        samples: S.
        about: what was sampled, JSON-ready.
        within_std: share of values within the interval of their standard deviation that holds 90 % of normal
            ones.
        confidence: of recordings; None: of other signals.
    """

    ranks: Mapping[str, NDArray[np.int64]]
    tarp: Values
    covered: float
    nominal: float
    error_ratio: float
    samples: int
    about: Mapping[str, Any]
    within_std: float
    confidence: Confidence | None = None

    @property
    def mixtures(self) -> int:
        """N."""
        return len(self.tarp)

    def p_values(self) -> dict[str, float]:
        """Probability of ranks (χ²) and shares (Kolmogorov-Smirnov) as uneven, if they are uniform."""
        values = {name: uniform_p(ranks, self.samples) for name, ranks in self.ranks.items()}
        return {**values, "tarp": float(stats.kstest(self.tarp, "uniform").pvalue)}

    @property
    def p_value(self) -> float:
        """The least p-value times their number (Bonferroni); below 0.05, calibration is rejected."""
        values = self.p_values()
        return min(1.0, len(values) * min(values.values()))

    def histogram(self, name: str) -> NDArray[np.int64]:
        """Number of ranks of a scalar in equal bins."""
        return binned(self.ranks[name], self.samples)

    def coverage(self, levels: Values) -> Values:
        """Share of mixtures whose truth is within the credible regions of TARP, at credibility levels."""
        return np.array([(self.tarp < level).mean() for level in levels])

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready document."""
        levels = np.linspace(0.0, 1.0, 21)
        return {
            "format": 1,
            "kind": "calibration",
            "mixtures": self.mixtures,
            "samples": self.samples,
            "p_value": self.p_value,
            "p_values": self.p_values(),
            "coverage": {"nominal": self.nominal, "measured": self.covered},
            "standard_deviation": {"nominal": LEVEL, "measured": self.within_std},
            **({} if self.confidence is None else {"confidence": self.confidence.as_dict()}),
            "error_over_spread": self.error_ratio,
            "histograms": {name: self.histogram(name).tolist() for name in self.ranks},
            "tarp": {"levels": levels.tolist(), "coverage": self.coverage(levels).tolist()},
            "about": dict(self.about),
        }


def calibration(
    truths: Tensor,
    samples: Tensor,
    *,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
    per_second: float = 0.0,
) -> Calibration:
    """Compare truths (N, K, C, *D) with samples (N, S, K, C, *D) of their posteriors.

    Scalars are the power of the first source, a random projection of the first source, one of the difference
    of the first two, and their product, all invariant under the order of mixtures. Ties are broken at random.
    Of recordings, with ``per_second`` positions of the last axis per second, confidence is assessed, too.

    Raises:
        UsageError: there are fewer than 20 mixtures or 4 samples, with which nothing can be said.
    """
    if len(truths) < 20 or samples.shape[1] < 4:
        raise UsageError(
            f"{len(truths)} mixtures with {samples.shape[1]} samples each are too few",
            "use 20 mixtures and 4 samples at least",
            argument="samples",
        )
    rng = np.random.default_rng(seed)
    truth, sampled = truths.double().cpu(), samples.double().cpu()
    count = samples.shape[1]
    true_scalars, scalars = _scalars(truth, seed), _scalars(sampled.flatten(0, 1), seed)
    ranks = {
        name: _ranks(true_scalars[name].numpy(), scalars[name].view(-1, count).numpy(), rng)
        for name in true_scalars
    }
    varying = sampled.std(1) > FLAT * truth.square().mean().sqrt()
    covered, nominal = _covered(truth, sampled, varying, rng)
    spread = sampled.var(1).mean() * (1 + 1 / count)
    return Calibration(
        ranks,
        _tarp(truth, sampled, rng),
        covered,
        nominal,
        float((sampled.mean(1) - truth).square().mean() / spread),
        count,
        about or {},
        within_deviation(truth, sampled, varying),
        confidence_of(truth, sampled, per_second) if per_second else None,
    )


def uniform_p(ranks: Sequence[int] | NDArray[np.int64], samples: int) -> float:
    """Return the p-value of the χ² test that ranks 0 … S are uniform, in at most ``BINS`` equal bins."""
    counts = binned(ranks, samples)
    return float(stats.chisquare(counts).pvalue)


def binned(ranks: Sequence[int] | NDArray[np.int64], samples: int) -> NDArray[np.int64]:
    """Return how many ranks 0 … S are in each of the most equal bins, up to ``BINS``, that divide S + 1."""
    bins = max(n for n in range(1, BINS + 1) if (samples + 1) % n == 0)
    width = (samples + 1) // bins
    return np.bincount(np.asarray(ranks) // width, minlength=bins)


def _ranks(truth: Values, samples: Values, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ranks of (N, ...) among (N, S, ...); those of equal values are random."""
    below = (samples < truth[:, None]).sum(1)
    equal = (samples == truth[:, None]).sum(1)
    ranks: NDArray[np.int64] = below + rng.integers(0, equal + 1)
    return ranks


def _scalars(x: Tensor, seed: int) -> dict[str, Tensor]:
    """Scalars (N,) of sources (N, K, C, *D)."""
    flat = x.flatten(2)
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(2, flat.shape[2], generator=generator, dtype=flat.dtype)
    return {
        "power of a source": flat[:, 0].square().mean(1),
        "projection of a source": flat[:, 0] @ direction[0],
        "projection of a difference": (flat[:, 0] - flat[:, 1]) @ direction[1],
        "product of two sources": (flat[:, 0] * flat[:, 1]).mean(1),
    }


def _tarp(truth: Tensor, samples: Tensor, rng: np.random.Generator) -> Values:
    """Shares (N,), each spread at random over its step of 1/(S + 1); the reference is another truth."""
    order = (np.arange(len(truth)) + 1 + rng.integers(0, len(truth) - 1)) % len(truth)
    reference = truth[torch.from_numpy(order)].flatten(1)
    radius = (truth.flatten(1) - reference).square().sum(1)
    distances = (samples.flatten(2) - reference[:, None]).square().sum(2)
    ranks = _ranks(radius.numpy(), distances.numpy(), rng)
    shares: Values = (ranks + rng.random(len(ranks))) / (samples.shape[1] + 1)
    return shares


def _covered(
    truth: Tensor, samples: Tensor, varying: Tensor, rng: np.random.Generator
) -> tuple[float, float]:
    """Share of values within the central interval of their samples, and the share that is expected."""
    count = samples.shape[1]
    cut = max(1, round((1 - LEVEL) / 2 * (count + 1)))
    flat_truth, flat = truth.flatten(1).numpy(), samples.flatten(2).numpy()
    ranks = _ranks(flat_truth, flat, rng)
    inside = (ranks >= cut) & (ranks <= count - cut)
    return float(inside[varying.flatten(1).numpy()].mean()), 1 - 2 * cut / (count + 1)
