"""``run``: the one path of an evaluation. Protocol → journal → batches of items → report with previews.

Tasks are small classes in ``sepcli.evaluation.tasks``; metrics are rows of ``METRICS``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from sepcli.errors import InputError, SepError, UsageError
from sepcli.evaluation.journal import Finished, append_journal, resume_journal
from sepcli.evaluation.kept_images import ImageFile, has_images, image_place, keep_images
from sepcli.evaluation.previews import Clip
from sepcli.evaluation.protocol import Protocol as Rules
from sepcli.evaluation.report import Failure, Report, make_report
from sepcli.evaluation.score import TrackScore
from sepcli.evaluation.task import Members, Plan, Scored, Task
from sepcli.metrics import METRICS, Metric, find
from sepcli.protocols import ProgressCallback
from sepcli.separation.executor import STEPS, Executor, OnPart, Serial
from sepcli.separation.seeds import item_seed


def run(
    task: Task[Any],
    metrics: Sequence[str] = (),
    *,
    seed: int = 0,
    batch: int = 8,
    journal: Path | None = None,
    replace_journal: bool = False,
    executor: Executor | None = None,
    make: Callable[[str], Task[Any]] | None = None,
    on_progress: ProgressCallback | None = None,
) -> Report:
    """Evaluate a task.

    Args:
        task: items, their separation and their references.
        metrics: names in ``METRICS``; the task's if there are none.
        seed: of items, samples and bootstrap; an item's samples depend on this and its number only.
        batch: items that are worked on together; batches are the same whatever is finished.
        journal: keeps finished items; a run continues the journal of the same protocol, to the same report.
        replace_journal: start over when the journal belongs to a run with other settings.
        executor: of batches; None: this process.
        make: makes the task in a worker, from its device; None: workers get a copy.
        on_progress: called with thousandths of items, then with images of the sets that are compared.

    Returns:
        The report. Items of a task that are scored one by one and fail are its failures.

    Raises:
        UsageError: a metric is unknown, or not one that the task can measure.
        NothingScored: nothing can be scored.
        InputError: the images are too small for a metric.
        OutputError: the journal belongs to a run with other settings, or cannot be written.
    """
    plan = Plan(_chosen(task, metrics), seed, 1 if task.one_by_one else batch)
    setup = task.setup(plan)
    protocol, sets, complete = setup.protocol, setup.sets, True
    mark = protocol.fingerprint(setup.files, setup.content)
    if sets is not None:
        sets.check(protocol.tracks * sets.images)
        shape = (protocol.tracks, sets.images, *sets.originals.shape[1:])
        path = None if journal is None else image_place(journal)
        complete = path is not None and has_images(path, sets.rows, shape)
    finished = resume_journal(journal, mark, replace_journal, complete)
    keeping: AbstractContextManager[ImageFile | None] = nullcontext()
    if sets is not None:
        keeping = keep_images(sets.rows, shape, path, bool(finished))
    work = _Work(task, plan, protocol.tracks, journal, executor or Serial(), on_progress)
    with keeping as kept:
        work.score_all(make or partial(_same, task), finished, kept)
        of_sets, remarks, intervals = (
            sets.score(kept.sets(), on_progress, seed) if sets and kept else ([], [], {})
        )
    scores = [score for scores in work.scores.values() for score in scores] + of_sets
    failures = [*setup.failures, *work.failures]
    if not scores:
        raise _nothing(protocol, failures)
    report = make_report(protocol, scores, failures, [*setup.notes, *remarks], intervals)
    seeds = {name: item_seed(seed, n) for n, name in enumerate(work.names)} if task.separates else {}
    cost = setup.cost(work.seconds, work.separated)
    return replace(report, cost=cost, seeds=seeds, clips_of=partial(_clips, task, plan))


class NothingScored(InputError):
    """No item could be scored; ``failures`` has all reasons."""

    def __init__(self, message: str, hint: str, failures: Sequence[Failure]) -> None:
        super().__init__(message, hint)
        self.failures = tuple(failures)


def _nothing(protocol: Rules, failures: Sequence[Failure]) -> NothingScored:
    first = f"; {failures[0].track}: {failures[0].reason}" if failures else ""
    return NothingScored(
        f"none of {protocol.tracks} item(s) of {protocol.dataset} can be scored{first}",
        f"give items that have {', '.join(protocol.stems)}, alike in sample rate, channels and length",
        failures,
    )


def _chosen(task: Task[Any], names: Sequence[str]) -> tuple[str, ...]:
    """The metrics, with the task's if none is chosen but checks."""
    metrics = find(names)
    unfit = [metric for metric in metrics if not _fits(task, metric)]
    if unfit:
        fitting = [name for name, metric in METRICS.items() if metric.selectable and _fits(task, metric)]
        raise UsageError(
            f"{unfit[0].name} cannot be measured here", f"metrics: {', '.join(fitting)}", argument="metrics"
        )
    chosen = tuple(metric.name for metric in metrics)
    return chosen if any(metric.scope != "check" for metric in metrics) else (*task.metrics, *chosen)


def _fits(task: Task[Any], metric: Metric) -> bool:
    return metric.medium == task.medium and metric.scope in task.scopes


def _clips(task: Task[Any], plan: Plan, name: str) -> list[Clip]:
    for number, item in enumerate(task.items(plan)):
        if item.id == name:
            return task.clips(number, item, plan)
    return []  # of a whole set


@dataclass
class _Work:
    """Batches and their results: finished ones are not scored again, new ones go into the journal.

    ``batches`` has the numbers and names of the items of the new batches; ``skipped`` counts other items.
    """

    task: Task[Any]
    plan: Plan
    total: int
    journal: Path | None
    executor: Executor
    on_progress: ProgressCallback | None
    names: list[str] = field(default_factory=list)
    batches: list[list[tuple[int, str]]] = field(default_factory=list)
    skipped: int = 0
    scores: dict[str, Sequence[TrackScore]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    separated: int = 0

    def score_all(self, make: Callable[[str], Task[Any]], finished: Finished, kept: ImageFile | None) -> None:
        """Score the batches that are not finished, by executors that may finish them in any order."""
        setup = partial(_state, make, self.plan)
        for number, result in self.executor.map(setup, _score, self._new(finished), self._progress):
            members = self.batches[number]
            if isinstance(result, SepError):
                if not self.task.one_by_one:
                    raise result
                result = Scored({}, failures=(Failure(members[0][1], result.message),))
            self._take(result, members, kept)
        self.scores = {name: self.scores[name] for name in self.names if name in self.scores}
        numbers = {name: number for number, name in enumerate(self.names)}
        self.failures.sort(key=lambda failure: numbers.get(failure.track, 0))

    def _take(self, result: Scored, members: Sequence[tuple[int, str]], kept: ImageFile | None) -> None:
        """Add a result; images are kept before the journal has the scores."""
        if kept is not None:
            for row, images in result.images.items():
                for (number, _), each in zip(members, images, strict=True):
                    kept.put(number, row, each)
        if self.journal is not None and result.scores:
            append_journal(self.journal, result.scores)
        self.scores |= result.scores
        self.failures += result.failures
        self.seconds += result.seconds
        self.separated += len(members)

    def _new(self, finished: Finished) -> Iterator[Members[Any]]:
        """Yield the batches that are not finished; take the scores of the others."""
        numbered = enumerate(self.task.items(self.plan))
        while members := list(itertools.islice(numbered, self.plan.batch)):
            self.names += [item.id for _, item in members]
            if all(item.id in finished for _, item in members):
                self.scores |= {item.id: finished[item.id] for _, item in members}
                self.skipped += len(members)
            else:
                self.batches.append([(number, item.id) for number, item in members])
                yield members

    def _progress(self, done: int, steps: int) -> None:
        """Report steps of batches as steps of items."""
        if self.on_progress is not None:
            every = STEPS * max(self.total, len(self.names))
            self.on_progress(min(STEPS * self.skipped + done * self.plan.batch, every), every)


def _state(make: Callable[[str], Task[Any]], plan: Plan, device: str) -> tuple[Task[Any], Plan]:
    return make(device), plan


def _same(task: Task[Any], device: str) -> Task[Any]:
    return task


def _score(state: tuple[Task[Any], Plan], members: Members[Any], on_part: OnPart) -> Scored:
    task, plan = state
    return task.score(members, plan, on_part)
