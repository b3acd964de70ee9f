"""BASIS' protocol on MNIST: sums of two test digits, separated, each pair scored in its better order.

PSNR is 10 log10(1/mean squared error) of pictures clamped to [0, 1]; the estimates of a pair are put in the
order of the greater mean PSNR. Class split takes one digit of 0-4 and one of 5-9; without, any two
pictures.

Source: Jayaram & Thickstun 2020 (BASIS), section 5.1 and table 2, 6,000 pairs.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.datasets.idx import Digits, open_digits
from sepcli.errors import InputError, UsageError
from sepcli.evaluation.journal import append_journal, resume_journal
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.report import Report, make_report
from sepcli.evaluation.score import TrackScore
from sepcli.metrics import best_permutation, psnr
from sepcli.protocols import OnStep
from sepcli.separators import ScoreSeparator
from sepcli.training.denoiser import HALVES, as_pictures

OURS, AVERAGE = "sepcli", "average"
"""The rows: one draw, and half the mixture for either source."""


@dataclass(frozen=True)
class DigitPair:
    """Two pictures to be mixed.

    Attributes:
        id: its name in reports.
        sources: (2, 1, H, W), float32 in [0, 1].
    """

    id: str
    sources: Tensor


def digit_pairs(digits: Digits, count: int, split: str, seed: int) -> Iterator[DigitPair]:
    """Random pairs; pair number n depends on the seed and n only.

    Args:
        digits: to choose from.
        count: how many pairs.
        split: ``class`` (0-4 with 5-9) or ``none``.
        seed: of the choice.

    Raises:
        InputError: there are no two pictures to pair.
    """
    everyone = np.arange(len(digits.labels))
    groups = (
        [everyone[digits.labels < 5], everyone[digits.labels >= 5]] if split == "class" else [everyone] * 2
    )
    if min(len(digits.labels) - 1, *map(len, groups)) < 1:
        raise InputError("the data set has no two pictures to pair", "Use all of MNIST's test set.")
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        first = second = rng.choice(groups[0])
        while second == first:
            second = rng.choice(groups[1])
        yield DigitPair(f"pair-{number:05d}", as_pictures(digits.images[[first, second]]))


def score_digits(pair: DigitPair, names: Sequence[str], drawn: Tensor) -> list[TrackScore]:
    """PSNR of a draw (2, 1, H, W) in its better order, and of half the mixture."""
    truth = pair.sources.numpy()
    half = np.broadcast_to(truth.mean(axis=0), truth.shape)
    scores = []
    for method, estimates in ((OURS, drawn.clamp(0.0, 1.0).numpy()), (AVERAGE, half)):
        table = np.array([[psnr(source, estimate) for estimate in estimates] for source in truth])
        order = best_permutation(table)
        scores += [
            TrackScore(pair.id, method, name, "psnr", float(table[k, order[k]]))
            for k, name in enumerate(names)
        ]
    return scores


def evaluate_digits(
    data: Path,
    separator: ScoreSeparator,
    *,
    pairs: int = 6000,
    split: str = "none",
    seed: int = 0,
    batch: int = 32,
    settings: Mapping[str, Any] | None = None,
    journal: Path | None = None,
    replace_journal: bool = False,
    on_step: OnStep | None = None,
) -> Report:
    """Mix, separate and score pairs of MNIST's test digits.

    Args:
        data: folder of MNIST's files.
        separator: of two sources of weight 1.
        pairs: how many.
        split: ``class`` or ``none``.
        seed: of pairs, draws and bootstrap.
        batch: pairs that are separated together.
        settings: of the separator, for the protocol.
        journal: keeps finished pairs; a run that finds its own journal continues it.
        replace_journal: start over when the journal is of a run with other settings.
        on_step: told about progress.

    Returns:
        The report; its ``cost`` holds evaluations per source and, of the pairs separated now, seconds per
        pair.

    Raises:
        UsageError: the separator is not of two sources of weight 1.
        InputError: the data cannot be read.
        OutputError: the journal is of a run with other settings, or cannot be written.
    """
    if tuple(separator.weights) != (1.0, 1.0):
        raise UsageError("digits are scored as sums of two", "Use a separator of two sources of weight 1.")
    names = HALVES if split == "class" else ("first", "second")
    protocol = Protocol(
        metrics=("psnr",),
        dataset=f"MNIST, test digits, pairs 0 … {pairs - 1}, class split: {split}",
        stems=names,
        mixture="1·first + 1·second",
        tracks=pairs,
        seed=seed,
        settings={**(settings or {}), "draws": 1, "batch": batch},
    )
    finished = resume_journal(journal, protocol.fingerprint(), replace_journal)
    numbered = enumerate(digit_pairs(open_digits(data, "test"), pairs, split, seed))
    scores: list[TrackScore] = []
    spent, separated = 0.0, 0
    while items := list(itertools.islice(numbered, batch)):
        done = len(scores) // (2 * len(names))
        if all(pair.id in finished for _, pair in items):
            scored = {pair.id: finished[pair.id] for _, pair in items}
        else:
            started = time.monotonic()
            told = None if on_step is None else _within(on_step, done, len(items), pairs)
            scored = _score_batch(items, separator, names, seed, told)
            spent, separated = spent + time.monotonic() - started, separated + len(items)
            if journal is not None:
                append_journal(journal, scored)
        scores += itertools.chain.from_iterable(scored.values())
        if on_step is not None:
            on_step(1000 * (done + len(items)), 1000 * pairs)
    cost: dict[str, float] = {"evaluations": separator.evaluations}
    if separated:
        cost["seconds_per_pair"] = spent / separated
    return replace(make_report(protocol, scores), cost=cost)


def _score_batch(
    items: Sequence[tuple[int, DigitPair]],
    separator: ScoreSeparator,
    names: Sequence[str],
    seed: int,
    on_step: OnStep | None,
) -> dict[str, list[TrackScore]]:
    mixtures = torch.stack([pair.sources.sum(0) for _, pair in items])
    seeds = torch.tensor([[_seed(seed, number)] for number, _ in items])
    drawn = separator(mixtures, seeds, on_step)[:, 0]
    return {pair.id: score_digits(pair, names, draw) for (_, pair), draw in zip(items, drawn, strict=True)}


def _seed(seed: int, number: int) -> int:
    """Of the draw of one pair; it has nothing to do with the numbers that chose the pair."""
    state = np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))


def _within(on_step: OnStep, start: int, count: int, total: int) -> OnStep:
    """Progress within a batch as progress of the whole."""
    return lambda done, steps: on_step(int(1000 * (start + count * done / max(steps, 1))), 1000 * total)
