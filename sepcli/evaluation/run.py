"""``run``: the one path of an evaluation. Protocol → journal → batches of items → report with previews.

What is evaluated is a task, a small class in ``sepcli.evaluation.tasks``; ``METRICS`` says what is measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from sepcli.errors import InputError, SepError, UsageError
from sepcli.evaluation.distribution import ImageFile, Sets, has_images, image_place, keep_images
from sepcli.evaluation.journal import Finished, append_journal, resume_journal, start_journal
from sepcli.evaluation.previews import Clip
from sepcli.evaluation.protocol import Protocol as Rules
from sepcli.evaluation.report import Failure, Report, make_report
from sepcli.evaluation.score import TrackScore
from sepcli.evaluation.task import Members, Plan, Scored, Setup, Task
from sepcli.metrics import METRICS, Metric, find
from sepcli.protocols import ProgressCallback
from sepcli.separation.executor import Executor
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
    on_progress: ProgressCallback | None = None,
) -> Report:
    """Evaluate a task.

    Args:
        task: what is evaluated.
        metrics: names in ``METRICS``; the task's if there are none.
        seed: of items, samples and bootstrap; an item's samples depend on this and its number only.
        batch: items that are worked on together; batches are the same whatever is finished.
        journal: keeps finished items; a run continues the journal of the same protocol, to the same report.
        replace_journal: start over when the journal belongs to a run with other settings.
        executor: where batches are scored; None: in this process.
        on_progress: called with thousandths of items, then with images of the sets that are compared.

    Returns:
        The report. Of a task whose items are scored one by one, those that fail are its failures.

    Raises:
        UsageError: a metric is unknown, or not one that the task can measure.
        InputError: nothing can be scored, or the images are too small for a metric.
        OutputError: the journal belongs to a run with other settings, or cannot be written.
    """
    plan = Plan(_chosen(task, metrics), seed, 1 if task.one_by_one else batch)
    setup = task.setup(plan)
    protocol, sets = setup.protocol, _sets(plan, setup)
    mark = protocol.fingerprint(setup.files, setup.content)
    work = _Work(task, plan, protocol.tracks, journal, executor, on_progress)
    if sets is None:
        done = work.all(_finished(journal, mark, replace_journal, True))
        of_sets: list[TrackScore] = []
        remarks: list[str] = []
    else:
        shape = (protocol.tracks, setup.images, *sets.originals.shape[1:])
        path = None if journal is None else image_place(journal)
        complete = path is not None and has_images(path, setup.rows, shape)
        finished = _finished(journal, mark, replace_journal, complete)
        with keep_images(setup.rows, shape, path, bool(finished)) as kept:
            done = work.all(finished, kept)
            of_sets, remarks = sets.score(kept.sets(), on_progress)
    scores = [score for scores in done.scores.values() for score in scores] + of_sets
    failures = [*setup.failures, *done.failures]
    if not scores:
        raise _nothing(protocol, failures)
    report = make_report(protocol, scores, failures, [*setup.notes, *remarks])
    seeds = {name: item_seed(seed, n) for n, name in enumerate(done.names)} if task.separates else {}
    cost = task.cost(done.seconds, done.separated)
    return replace(report, cost=cost, seeds=seeds, clips_of=partial(_clips, task, plan))


def _nothing(protocol: Rules, failures: Sequence[Failure]) -> InputError:
    first = f"; {failures[0].track}: {failures[0].reason}" if failures else ""
    return InputError(
        f"none of {protocol.tracks} item(s) of {protocol.dataset} can be scored{first}",
        f"give items that have {', '.join(protocol.stems)}, alike in sample rate, channels and length",
    )


def _chosen(task: Task[Any], names: Sequence[str]) -> tuple[str, ...]:
    """The metrics, the task's if none is chosen but checks."""
    metrics = find(names) if names else ()
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


def _sets(plan: Plan, setup: Setup) -> Sets | None:
    """What whole sets are compared by; refuses images that are too small or too few."""
    if setup.originals is None:
        return None
    for metric in plan.of("item"):
        least = METRICS[metric].smallest
        if min(setup.originals.shape[2:]) < least:
            raise InputError(f"{metric} needs images of {least} pixels or more", f"leave out {metric}")
    if not plan.of("set"):
        return None
    sets = Sets(plan.of("set"), setup.networks, setup.originals)
    sets.check(setup.protocol.tracks * setup.images)
    return sets


def _finished(journal: Path | None, mark: str, replace_journal: bool, images: bool) -> Finished:
    """What a journal of this fingerprint holds, if the images exist, too; else it is started anew."""
    finished = resume_journal(journal, mark, replace_journal)
    if journal is None or not finished or images:
        return {name: scores for name, scores in finished.items() if scores}
    start_journal(journal, mark, {})
    return {}


def _clips(task: Task[Any], plan: Plan, name: str) -> list[Clip]:
    for number, item in enumerate(task.items(plan)):
        if item.id == name:
            return task.clips(number, item, plan)
    return []  # of a whole set


@dataclass
class _Done:
    """All items, as they are done."""

    names: list[str] = field(default_factory=list)
    scores: dict[str, Sequence[TrackScore]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    separated: int = 0


@dataclass(frozen=True)
class _Work:
    """Batches: finished ones are not scored again, new ones go into the journal."""

    task: Task[Any]
    plan: Plan
    total: int
    journal: Path | None
    executor: Executor | None
    on_progress: ProgressCallback | None

    def all(self, finished: Finished, kept: ImageFile | None = None) -> _Done:
        done, batches = _Done(), self._batches()
        if self.executor is None:
            scored: Iterator[Scored] | None = None
        else:
            batches = iter(every := list(batches))
            new = [members for members in every if not _known(members, finished)]
            scored = self.executor.map(partial(_state, self.task, self.plan), _score_alone, new)
        for members in batches:
            start = len(done.names)
            done.names += [item.id for _, item in members]
            if _known(members, finished):
                done.scores |= {item.id: finished[item.id] for _, item in members}
            else:
                within = self._within(start, len(members))
                result = next(scored) if scored else _score(self.task, self.plan, members, within)
                self._take(result, members, done, kept)
            if self.on_progress is not None:
                self.on_progress(1000 * len(done.names), 1000 * max(self.total, len(done.names)))
        return done

    def _take(self, result: Scored, members: Members[Any], done: _Done, kept: ImageFile | None) -> None:
        """Images are kept before the journal takes the scores in."""
        if kept is not None:
            for row, images in result.images.items():
                for (number, _), each in zip(members, images, strict=True):
                    kept.put(number, row, each)
        if self.journal is not None and result.scores:
            append_journal(self.journal, result.scores)
        done.scores |= result.scores
        done.failures += result.failures
        done.seconds, done.separated = done.seconds + result.seconds, done.separated + len(members)

    def _batches(self) -> Iterator[list[tuple[int, Any]]]:
        numbered = enumerate(self.task.items(self.plan))
        while members := list(itertools.islice(numbered, self.plan.batch)):
            yield members

    def _within(self, start: int, count: int) -> ProgressCallback | None:
        """Progress within a batch as progress of the whole, in thousandths of an item."""
        whole = self.on_progress
        if whole is None:
            return None
        total = 1000 * max(self.total, start + count)
        return lambda done, steps: whole(int(1000 * (start + count * done / max(steps, 1))), total)


def _known(members: Members[Any], finished: Finished) -> bool:
    return all(item.id in finished for _, item in members)


def _state(task: Task[Any], plan: Plan) -> tuple[Task[Any], Plan]:
    return task, plan


def _score_alone(state: tuple[Task[Any], Plan], members: Members[Any]) -> Scored:
    return _score(*state, members, None)


def _score(
    task: Task[Any], plan: Plan, members: Members[Any], on_progress: ProgressCallback | None
) -> Scored:
    try:
        return task.score(members, plan, on_progress)
    except SepError as error:
        if not task.one_by_one:
            raise
        return Scored({}, failures=(Failure(members[0][1].id, error.message),))
