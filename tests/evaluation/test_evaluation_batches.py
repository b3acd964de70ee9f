"""Batches: order, resuming, the journal, progress, seeds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sepcli.evaluation.batches import Scores, draw_seeds, score_batches
from sepcli.evaluation.journal import read_journal, start_journal
from sepcli.evaluation.score import TrackScore
from sepcli.protocols import ProgressCallback


class Named(NamedTuple):
    id: str


ITEMS = [Named(str(n)) for n in range(5)]


class Scorer:
    """Scores an item by its number; keeps the batches that it saw."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def __call__(self, items: list[tuple[int, Named]], on_progress: ProgressCallback | None) -> Scores:
        self.seen.append([number for number, _ in items])
        if on_progress is not None:
            on_progress(1, 2)
        return {item.id: [TrackScore(item.id, "m", "s", "psnr", float(number))] for number, item in items}


def test_finished_batches_are_taken_and_others_are_kept(tmp_path: Path) -> None:
    whole = list(score_batches(ITEMS, Scorer(), batch=2, total=5))
    assert [list(scores) for scores in whole] == [["0", "1"], ["2", "3"], ["4"]]
    finished = {key: scores for part in whole for key, scores in part.items() if key not in ("3", "4")}
    journal, scorer = tmp_path / "journal", Scorer()
    start_journal(journal, "p", finished)
    again = score_batches(ITEMS, scorer, batch=2, total=5, finished=finished, journal=journal)
    assert list(again) == whole
    assert scorer.seen == [[2, 3], [4]]  # the second batch was not whole
    assert read_journal(journal, "p") == {key: s for part in whole for key, s in part.items()}


def test_progress_is_told_within_batches_and_at_their_ends() -> None:
    told: list[tuple[int, int]] = []
    list(score_batches(ITEMS, Scorer(), batch=2, total=5, on_progress=lambda *step: told.append(step)))
    assert told == [(n, 5000) for n in (1000, 2000, 3000, 4000, 4500, 5000)]


def test_seeds_are_of_the_run_the_item_and_the_draw() -> None:
    seeds = [int(s) for seed in (0, 1) for item in (0, 1) for s in draw_seeds(seed, item, 2)]
    assert len(set(seeds)) == 8
    assert all(seed >= 0 for seed in seeds)
    assert draw_seeds(0, 1, 1).tolist() == draw_seeds(0, 1, 2).tolist()[:1]
