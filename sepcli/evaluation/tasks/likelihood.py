"""Log-likelihood of every source's test items under every prior; nothing is separated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepcli.datasets.pair_folder import Pair
from sepcli.evaluation.density_evaluators import DensityEvaluator
from sepcli.evaluation.previews import Clip, clip
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.score import TrackScore
from sepcli.evaluation.task import Members, Plan, Scored, Setup
from sepcli.protocols import ProgressCallback

METRIC = "cross-likelihood"


@dataclass(frozen=True)
class Likelihood:
    """Test items of K sources under K priors.

    Attributes:
        evaluators: one per source, in the order of the sources.
        data: yields arrays (K, T) of the sources, from the first, every time.
        count: number of items.
        title: name of the items.
        settings: of the priors and items, for the protocol.
    """

    evaluators: Sequence[DensityEvaluator]
    data: Callable[[], Iterator[NDArray[np.float32]]]
    count: int
    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = (METRIC,)
    scopes: tuple[str, ...] = ("prior",)
    medium: str = "audio"
    separates: bool = False
    one_by_one: bool = False

    def setup(self, plan: Plan) -> Setup:
        """Return the protocol."""
        stems = tuple(evaluator.source for evaluator in self.evaluators)
        mixture, settings = "none: every source by itself", dict(self.settings)
        return Setup(Protocol(plan.metrics, self.title, stems, mixture, self.count, plan.seed, settings))

    def items(self, plan: Plan) -> Iterator[Pair]:
        """Yield the items."""
        rate = int(self.evaluators[0].kind["sample_rate"])
        for number, sources in enumerate(self.data()):
            yield Pair(f"item-{number:05d}", sources, rate)

    def score(self, items: Members[Pair], plan: Plan, on_progress: ProgressCallback | None) -> Scored:
        """Evaluate a batch; every prior gets the same noise with an item."""
        scores: dict[str, list[TrackScore]] = {}
        for done, (number, item) in enumerate(items, start=1):
            scores[item.id] = [
                TrackScore(item.id, prior, source, METRIC, value)
                for (prior, source), value in self._values(number, item, plan.seed).items()
            ]
            if on_progress is not None:
                on_progress(done, len(items))
        return Scored(scores)

    def clips(self, number: int, item: Pair, plan: Plan) -> list[Clip]:
        """Return the sources."""
        return [
            clip("test item", evaluator.source, signal[:, None], item.sample_rate)
            for evaluator, signal in zip(self.evaluators, item.sources, strict=True)
        ]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the priors, with their sources where two have the same name."""
        names = [evaluator.prior for evaluator in self.evaluators]
        return tuple(
            name if names.count(name) == 1 else f"{name} ({evaluator.source})"
            for name, evaluator in zip(names, self.evaluators, strict=True)
        )

    def _values(self, number: int, item: Pair, seed: int) -> dict[tuple[str, str], float]:
        """Values by prior, then source."""
        noise = [
            np.random.default_rng([seed, number, k]).standard_normal(len(signal), np.float32)
            for k, signal in enumerate(item.sources)
        ]
        return {
            (label, evaluator.source): row(signal, eps)
            for label, row in zip(self.labels, self.evaluators, strict=True)
            for evaluator, signal, eps in zip(self.evaluators, item.sources, noise, strict=True)
        }
