"""Evaluation tasks: items, their separation, and their references."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from sepcli.evaluation.previews import Clip
from sepcli.evaluation.protocol import Protocol as Rules
from sepcli.evaluation.report import Failure
from sepcli.evaluation.score import TrackScore
from sepcli.metrics import METRICS
from sepcli.protocols import ProgressCallback

if TYPE_CHECKING:
    from torch import Tensor

    from sepcli.evaluation.distribution import Sets

T = TypeVar("T")
"""An item; it has an ``id``, different for every item."""
Members = Sequence[tuple[int, T]]
"""A batch: items and their numbers, from 0."""


@dataclass(frozen=True)
class Plan:
    """Metrics (keys of ``METRICS``), seed of items, samples and bootstrap, and items worked on together."""

    metrics: tuple[str, ...]
    seed: int = 0
    batch: int = 8

    def of(self, scope: str) -> tuple[str, ...]:
        """Return the metrics of one scope."""
        return tuple(metric for metric in self.metrics if METRICS[metric].scope == scope)


@dataclass(frozen=True)
class Setup:
    """Protocol, files and comparisons of a task, fixed before its first item.

    Attributes:
        protocol: everything the numbers depend on.
        files: those that are read; a journal is only continued if none has changed.
        content: data of items that are not in files, likewise.
        sets: comparison of whole sets of images, if there are metrics of sets.
        failures: items that cannot be scored.
        notes: for the report.
        cost: seconds and number of the items separated now → cost of the separation.
    """

    protocol: Rules
    files: Sequence[Path] = ()
    content: bytes = b""
    sets: Sets | None = None
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    cost: Callable[[float, int], Mapping[str, float]] = lambda seconds, items: {}


@dataclass(frozen=True)
class Scored:
    """A batch that is done: scores by item, and seconds that separating took."""

    scores: Mapping[str, Sequence[TrackScore]]
    images: Mapping[str, Tensor] = field(default_factory=dict)
    """Images by row, (B, K, C, H, W) in [0, 1], for metrics of sets."""
    seconds: float = 0.0
    failures: tuple[Failure, ...] = ()


class Task(Protocol[T]):
    """An evaluation task: items, their separation, and their references."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The default metrics."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of metrics that it can measure."""

    @property
    def medium(self) -> str:
        """Audio or image."""

    @property
    def separates(self) -> bool:
        """Whether it separates, so that items have seeds."""

    @property
    def one_by_one(self) -> bool:
        """Whether an item is scored alone; one that cannot be scored is then a failure of the report."""

    def setup(self, plan: Plan) -> Setup:
        """Return the protocol, and all else that is fixed before the first item."""

    def items(self, plan: Plan) -> Iterator[T]:
        """Yield the items, from the first, in an order that is always the same."""

    def score(self, items: Members[T], plan: Plan, on_progress: ProgressCallback | None) -> Scored:
        """Separate and score a batch."""

    def clips(self, number: int, item: T, plan: Plan) -> list[Clip]:
        """Return previews of an item; it is separated again for them."""
