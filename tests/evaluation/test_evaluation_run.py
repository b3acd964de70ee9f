"""The one path of evaluations: batches, resuming, failures, workers, progress, seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from sepcli.errors import InputError, UsageError
from sepcli.evaluation.previews import Clip
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.run import run
from sepcli.evaluation.samples import seeds_of
from sepcli.evaluation.score import TrackScore
from sepcli.evaluation.task import Members, Plan, Scored, Setup
from sepcli.protocols import ProgressCallback
from sepcli.separation.executor import Executor, Serial


class Named(NamedTuple):
    id: str


@dataclass(frozen=True)
class Numbers:
    """Scores an item by its number; keeps the batches that it saw."""

    count: int = 5
    one_by_one: bool = False
    bad: str = ""
    separates: bool = True
    seen: list[list[int]] = field(default_factory=list)
    metrics: tuple[str, ...] = ("psnr",)
    scopes: tuple[str, ...] = ("item",)
    medium: str = "image"

    def setup(self, plan: Plan) -> Setup:
        protocol = Protocol(plan.metrics, "numbers", ("s",), "none", self.count, plan.seed)
        return Setup(protocol, cost=lambda seconds, items: {"seconds": seconds, "items": items})

    def items(self, plan: Plan) -> Iterator[Named]:
        return (Named(str(n)) for n in range(self.count))

    def score(self, items: Members[Named], plan: Plan, on_progress: ProgressCallback | None) -> Scored:
        self.seen.append([number for number, _ in items])
        if any(item.id == self.bad for _, item in items):
            raise InputError(f"item {self.bad} is bad", "-")
        if on_progress is not None:
            on_progress(1, 2)
        made = {item.id: [TrackScore(item.id, "m", "s", "psnr", float(n))] for n, item in items}
        return Scored(made, seconds=1.0)

    def clips(self, number: int, item: Named, plan: Plan) -> list[Clip]:
        return [Clip("m", item.id, np.full((1, 1, 1), number, np.float32))]


def test_finished_batches_are_taken_and_others_are_kept(tmp_path: Path) -> None:
    journal, first = tmp_path / "journal", Numbers()
    whole = run(first, batch=2, journal=journal)
    assert first.seen == [[0, 1], [2, 3], [4]]
    assert whole.cost == {"seconds": 3.0, "items": 5}
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:2], ""]))
    second = Numbers()
    again = run(second, batch=2, journal=journal)
    assert second.seen == [[2, 3], [4]]
    assert (again.scores, again.seeds) == (whole.scores, whole.seeds)
    assert again.cost["items"] == 3
    assert journal.read_text().splitlines() == lines


def test_progress_is_told_within_batches_and_at_their_ends() -> None:
    told: list[tuple[int, int]] = []
    run(Numbers(), batch=2, on_progress=lambda *step: told.append(step))
    assert told == [(n, 5000) for n in (1000, 2000, 3000, 4000, 5000, 5000)]


@pytest.mark.parametrize("executor", [None, Serial()])
def test_items_that_fail_alone_are_failures(executor: Executor | None) -> None:
    report = run(Numbers(one_by_one=True, bad="2"), batch=3, executor=executor)
    assert [failure.track for failure in report.failures] == ["2"]
    assert [score.track for score in report.scores] == ["0", "1", "3", "4"]
    assert list(report.seeds) == ["0", "1", "2", "3", "4"]
    with pytest.raises(InputError, match="item 2"):
        run(Numbers(bad="2"), batch=3, executor=executor)
    with pytest.raises(InputError, match="item 0"):
        run(Numbers(count=1, one_by_one=True, bad="0"), executor=executor)


def test_clips_are_of_the_item_by_its_name() -> None:
    report = run(Numbers(separates=False))
    assert report.clips_of is not None
    (clip,) = report.clips_of("3")
    assert (clip.row, clip.stem, clip.signal.item(), clip.rate) == ("m", "3", 3.0, 0)
    assert report.clips_of("all") == []
    assert report.seeds == {}


def test_metrics_that_a_task_cannot_measure_are_refused() -> None:
    unfit: list[Any] = ["sdr", "fid", "cross-likelihood", "residual", "loudness"]
    for metric in unfit:
        with pytest.raises(UsageError, match=metric):
            run(Numbers(), [metric])


def test_seeds_are_of_the_run_the_item_and_the_sample() -> None:
    seeds = [int(s) for seed in (0, 1) for row in seeds_of(seed, [0, 1], 2) for s in row]
    assert len(set(seeds)) == 8
    assert all(seed >= 0 for seed in seeds)
    assert seeds_of(0, [1], 1).tolist()[0] == seeds_of(0, [1], 2).tolist()[0][:1]
