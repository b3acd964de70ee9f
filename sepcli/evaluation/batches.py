"""Items in batches: finished ones are not scored again, new ones go into the journal, progress is told."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from sepcli.errors import SepError
from sepcli.evaluation.journal import Finished, append_journal
from sepcli.evaluation.score import TrackScore
from sepcli.protocols import ProgressCallback
from sepcli.separation.seeds import item_seed, sample_seeds

Scores = dict[str, list[TrackScore]]
"""By item."""


class Item(Protocol):
    """What is to be scored."""

    @property
    def id(self) -> str:
        """Its name, different for every item."""
        ...


T = TypeVar("T", bound=Item)
ScoreBatch = Callable[[list[tuple[int, T]], ProgressCallback | None], Scores]
"""Numbered items → scores by item, telling about its own progress."""


def score_batches(
    items: Iterable[T],
    score: ScoreBatch[T],
    *,
    batch: int,
    total: int,
    finished: Finished | None = None,
    journal: Path | None = None,
    on_progress: ProgressCallback | None = None,
) -> Iterator[Scores]:
    """Score items batch by batch.

    Args:
        items: In an order that is always the same.
        score: Does the work.
        batch: Items that are handed over together; batches are the same whatever is finished.
        total: How many items there are, for ``on_progress``.
        finished: Scores of a run that was interrupted; batches found here in whole are not scored again.
        journal: Takes in the scores of every other batch.
        on_progress: Told about progress, in thousandths of an item.

    Yields:
        Scores by item, in the order of the items.
    """
    known = finished or {}
    numbered = enumerate(items)
    done = 0
    while members := list(itertools.islice(numbered, batch)):
        if all(item.id in known for _, item in members):
            scores = {item.id: list(known[item.id]) for _, item in members}
        else:
            scores = score(members, _within(on_progress, done, len(members), total))
            if journal is not None:
                append_journal(journal, scores)
        done += len(members)
        if on_progress is not None:
            on_progress(1000 * done, 1000 * max(total, done))
        yield scores


def draw_seeds(seed: int, number: int, draws: int = 1) -> Tensor:
    """Return the seeds (S,), int64, of an item's draws: those of ``separate`` with ``item_seed``."""
    return torch.tensor(sample_seeds(item_seed(seed, number), 0, draws), dtype=torch.int64)


def item_seeds(seed: int, names: Iterable[str]) -> dict[str, int]:
    """Return the seed of every item by its name, for a report; items in the order of their numbers."""
    return {name: item_seed(seed, number) for number, name in enumerate(names)}


def check_finite(draws: Tensor, items: Iterable[Item]) -> None:
    """Refuse draws (B, ...) of items that went astray: they have no score.

    Raises:
        SepError: one of them is not finite.
    """
    for item, own in zip(items, draws, strict=True):
        if not bool(torch.isfinite(own).all()):
            raise SepError(
                f"the estimates of {item.id} are not finite", "use more steps, or another sampler or prior"
            )


def _within(
    on_progress: ProgressCallback | None, start: int, count: int, total: int
) -> ProgressCallback | None:
    """Progress within a batch as progress of the whole."""
    if on_progress is None:
        return None
    return lambda done, steps: on_progress(
        int(1000 * (start + count * done / max(steps, 1))), 1000 * max(total, start + count)
    )
