"""Do priors discriminate between sources? Mean log-likelihoods of every source's items under every prior.

A prior is useful for separation if other sources are less likely under it than its target; so a source
must be the most likely under its prior. Values are in nats per sample. Flows have log p itself, of
waveforms with a little noise, or given the mel frames of the clean item if they are conditioned on such;
denoisers a bound on it up to a constant, the same for all of them.

Source: Frank 2020, "Unsupervised variational source separation with deep priors", the test of the priors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepcli.evaluation.protocol import CI_LEVEL, CI_RESAMPLES
from sepcli.evaluation.report import FORMAT, Report
from sepcli.metrics.statistics import bootstrap_ci


@dataclass(frozen=True)
class Verdict:
    """The prior of a source against the best of the others (``against``, by its source), item by item."""

    source: str
    against: str
    margin: float
    """Mean of log p under the source's prior minus that under the other, in nats per sample."""
    ci95: tuple[float, float]
    """Interval of the margin, by bootstrap over items."""

    @property
    def wins(self) -> bool:
        """Whether the source is the most likely under its prior."""
        return self.margin > 0

    @property
    def sure(self) -> bool:
        """Whether the interval says so, too."""
        return self.ci95[0] > 0


@dataclass(frozen=True)
class CrossLikelihood:
    """Log-likelihoods of test items of K sources under their K priors.

    Attributes:
        sources: K names; prior k is of source k.
        priors: K names.
        values: (K, K, N), nats per sample: prior, source, item.
        how: settings that the values depend on, with the ``seed`` of the bootstrap.
    """

    sources: tuple[str, ...]
    priors: tuple[str, ...]
    values: NDArray[np.float64]
    how: Mapping[str, Any]

    @property
    def means(self) -> NDArray[np.float64]:
        """(K, K): rows are priors, columns sources."""
        return np.asarray(self.values.mean(axis=2))

    def verdicts(self) -> tuple[Verdict, ...]:
        """One per source."""
        verdicts = []
        for k, source in enumerate(self.sources):
            others = np.delete(np.arange(len(self.sources)), k)
            rival = others[self.means[others, k].argmax()]
            apart = self.values[k, k] - self.values[rival, k]
            verdicts.append(Verdict(source, self.sources[rival], float(apart.mean()), self._interval(apart)))
        return tuple(verdicts)

    @property
    def discriminates(self) -> bool:
        """Whether the diagonal wins in every column, surely."""
        return all(verdict.sure for verdict in self.verdicts())

    def sentence(self) -> str:
        """Return the verdict as a sentence, with the margin that decides it."""
        verdicts = self.verdicts()
        least = min(verdicts, key=lambda v: v.margin)
        low, high = least.ci95
        interval = "" if np.isnan(low) else f" (95 % interval {low:.3g} to {high:.3g})"
        size = f"{least.margin:.3g} nats per sample{interval}"
        rival = f"{size}, {least.source} against the prior of {least.against}."
        if not least.wins:
            return (
                f"The priors do not discriminate: {least.source} is likelier under the prior of "
                f"{least.against} than under the prior of {least.source}; the margin is {size}."
            )
        unsure = [v.source for v in verdicts if not v.sure]
        if unsure:
            return (
                f"The priors do not discriminate surely: the diagonal wins in every column, but for "
                f"{', '.join(unsure)} not beyond chance; the least margin is {rival}"
            )
        return (
            "The priors discriminate: every source is the most likely under the matching prior; the least "
            f"margin is {rival}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a document."""
        return {
            "format": FORMAT,
            "metric": "cross-likelihood",
            "unit": "nats per sample",
            "priors": list(self.priors),
            "sources": list(self.sources),
            "mean": self.means.tolist(),
            "ci95": [[self._interval(cell) for cell in row] for row in self.values],
            "n": self.values.shape[2],
            "margins": [
                {"source": v.source, "against": v.against, "margin": v.margin, "ci95": v.ci95, "wins": v.wins}
                for v in self.verdicts()
            ],
            "discriminates": self.discriminates,
            "sentence": self.sentence(),
            **self.how,
        }

    def _interval(self, values: NDArray[np.float64]) -> tuple[float, float]:
        return bootstrap_ci(values, CI_LEVEL, CI_RESAMPLES, int(self.how.get("seed", 0)))


def cross_likelihood(report: Report, how: Mapping[str, Any]) -> CrossLikelihood:
    """Arrange the values of a report of ``sepcli.evaluation.tasks.likelihood``; see ``CrossLikelihood``."""
    sources = report.protocol.stems
    values: dict[str, dict[str, list[float]]] = {}
    for score in report.scores:
        values.setdefault(score.method, {}).setdefault(score.stem, []).append(score.value)
    array = np.array([[row[source] for source in sources] for row in values.values()], dtype=np.float64)
    return CrossLikelihood(sources, tuple(values), array, {**how, "seed": report.protocol.seed})
