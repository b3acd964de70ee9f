"""A run over images: items in batches, images kept for the metrics of whole sets, one report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from numpy.typing import ArrayLike
from torch import Tensor

from sepcli.errors import InputError
from sepcli.evaluation.batches import Item, Scores, item_seeds, score_batches
from sepcli.evaluation.distribution import (
    ImageFile,
    Images,
    Sets,
    has_images,
    image_place,
    keep_images,
)
from sepcli.evaluation.journal import Finished, resume_journal, start_journal
from sepcli.evaluation.previews import Clip
from sepcli.evaluation.protocol import Protocol as Rules
from sepcli.evaluation.report import Report, make_report
from sepcli.evaluation.score import TrackScore
from sepcli.metrics import METRICS
from sepcli.metrics.features import Extractor
from sepcli.protocols import ProgressCallback

T = TypeVar("T", bound=Item)
Work = TypeVar("Work", bound=Item, contravariant=True)


@dataclass(frozen=True)
class ImageRun:
    """How a run goes, whatever its task.

    Attributes:
        metrics: keys of ``sepcli.metrics.METRICS``, of the scopes ``item`` and ``set``.
        networks: those that metrics of sets need, by name; see ``image_sets.open_networks``.
        seed: of items, draws and bootstrap.
        batch: items that are worked on together.
        draws: of several, the likeliest to the prior is a row of its own, beside that of the first.
        settings: of the separator, for the protocol.
        journal: keeps finished items; a run that finds its own journal continues it. Images are beside it.
        replace_journal: start over when the journal is of a run with other settings.
        on_progress: told about progress, first of the items, then of the sets.
    """

    metrics: Sequence[str] = ("psnr",)
    networks: Mapping[str, Extractor] = field(default_factory=dict)
    seed: int = 0
    batch: int = 32
    draws: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    journal: Path | None = None
    replace_journal: bool = False
    on_progress: ProgressCallback | None = None

    @property
    def of_items(self) -> tuple[str, ...]:
        """The metrics that every item has a value of."""
        return tuple(metric for metric in self.metrics if METRICS[metric].scope == "item")

    def sets(self, originals: Images) -> Sets | None:
        """What the sets are compared by; None if no metric is of sets."""
        chosen = tuple(metric for metric in self.metrics if METRICS[metric].scope == "set")
        return Sets(chosen, self.networks, originals) if chosen else None

    def rules(self, checks: Sequence[str], **words: Any) -> Rules:
        """The protocol: metrics of items first, those of sets, then checks."""
        of_sets = [metric for metric in self.metrics if metric not in self.of_items]
        settings = {
            **self.settings,
            "draws": self.draws,
            "batch": self.batch,
            **words.pop("settings", {}),
            **({"networks": {n: dict(e.about) for n, e in self.networks.items()}} if of_sets else {}),
        }
        return Rules(metrics=(*self.of_items, *of_sets, *checks), seed=self.seed, settings=settings, **words)


class ItemWork(Protocol[Work]):
    """What is done to items."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Whose images it makes."""
        ...

    def __call__(
        self, items: Sequence[tuple[int, Work]], on_progress: ProgressCallback | None
    ) -> tuple[Scores, Mapping[str, Tensor]]:
        """Scores by item, and by row the images (B, K, C, H, W)."""
        ...

    def clips(self, number: int, item: Work) -> list[Clip]:
        """What there is to see of an item; does its work again."""
        ...

    def cost(self) -> dict[str, float]:
        """What it took."""
        ...


def evaluate_items(
    run: ImageRun,
    rules: Rules,
    items: Callable[[], Iterable[T]],
    work: ItemWork[T],
    originals: Images,
    images: int,
    notes: Sequence[str] = (),
) -> Report:
    """Do the work on all items and report.

    Args:
        run: how.
        rules: the protocol.
        items: from the first, in an order that is always the same; as many as the protocol says.
        work: what is done.
        originals: all test images (N, C, H, W), which sets are compared with.
        images: K, of an item and row.
        notes: for the report.

    Returns:
        The report; its ``cost`` is the work's.

    Raises:
        UsageError: a metric is not for such images.
        InputError: the images are too small for SSIM.
        OutputError: the journal is of a run with other settings, or cannot be written.
    """
    for metric in run.of_items:
        least = METRICS[metric].smallest
        if min(originals.shape[2:]) < least:
            raise InputError(f"{metric} needs images of {least} pixels or more", f"leave out {metric}")
    sets, told = run.sets(originals), list(notes)
    mark = rules.fingerprint(content=originals.tobytes())
    if sets is None:
        by_item = _scores(run, rules.tracks, items(), work, _finished(run, mark, True))
        more: list[TrackScore] = []
    else:
        sets.check(rules.tracks * images)
        shape = (rules.tracks, images, *originals.shape[1:])
        place = None if run.journal is None else image_place(run.journal)
        finished = _finished(run, mark, place is not None and has_images(place, work.rows, shape))
        with keep_images(work.rows, shape, place, bool(finished)) as kept:
            by_item = _scores(run, rules.tracks, items(), work, finished, kept)
            more, found = sets.score(kept.sets(), run.on_progress)
        told += found
    scores = [score for scores in by_item.values() for score in scores] + more
    seeds = item_seeds(run.seed, by_item)

    def clips(name: str) -> list[Clip]:
        for number, item in enumerate(items()):
            if item.id == name:
                return work.clips(number, item)
        return []  # of the whole set

    report = make_report(rules, scores, notes=told)
    return replace(report, cost=work.cost(), seeds=seeds, clips_of=clips)


def _finished(run: ImageRun, mark: str, images: bool) -> Finished:
    """What a journal of this fingerprint has, if the images are there, too; else it is begun anew."""
    finished = resume_journal(run.journal, mark, run.replace_journal)
    if run.journal is None or not finished or images:
        return finished
    start_journal(run.journal, mark, {})
    return {}


def _scores(
    run: ImageRun,
    total: int,
    items: Iterable[T],
    work: ItemWork[T],
    finished: Finished,
    kept: ImageFile | None = None,
) -> Scores:
    """Scores of all items; their images are kept before the journal takes the scores in."""

    def score(members: Sequence[tuple[int, T]], on_progress: ProgressCallback | None) -> Scores:
        scores, made = work(members, on_progress)
        if kept is not None:
            for row, own in made.items():
                for (number, _), each in zip(members, own, strict=True):
                    kept.put(number, row, each)
        return scores

    batches = score_batches(
        items,
        score,
        batch=run.batch,
        total=total,
        finished=finished,
        journal=run.journal,
        on_progress=run.on_progress,
    )
    return {name: scores for scored in batches for name, scores in scored.items()}


def closeness(metric: str, truth: ArrayLike, estimate: ArrayLike) -> float:
    """PSNR or SSIM of an image (C, H, W), both in [0, 1]."""
    return float(METRICS[metric].resolve()(truth, estimate))
