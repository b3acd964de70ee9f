"""BASIS' protocol on MNIST: sums of two test digits, separated, each pair scored in its better order.

PSNR is 10 log10(1/mean squared error) of pictures clamped to [0, 1]; the estimates of a pair are put in the
order of the greater mean PSNR, for SSIM as well. Class split takes one digit of 0-4 and one of 5-9; without,
any two pictures. Beside it stand half the mixture and dictionaries learnt by non-negative matrix
factorisation: with the class split one per half, without it the same for both sources, since nothing tells
them apart.

Source: Jayaram & Thickstun 2020 (BASIS), section 5.1 and table 2, 6,000 pairs; section 4 for the residual.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.blind import dictionary
from sepcli.blind.masks import Array
from sepcli.datasets.idx import Digits, open_digits
from sepcli.draws import STEP
from sepcli.errors import InputError, UsageError
from sepcli.evaluation.baselines import AVERAGE, average
from sepcli.evaluation.batches import Scores, draw_seeds, score_batches
from sepcli.evaluation.journal import resume_journal
from sepcli.evaluation.likelihoods import NLL, OURS, likeliest, typicality
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.report import Report, make_report
from sepcli.evaluation.score import TrackScore
from sepcli.metrics import SSIM_WINDOW, best_permutation, psnr, ssim
from sepcli.protocols import OnStep
from sepcli.separators import ScoreSeparator
from sepcli.training.denoiser import HALVES, as_pictures

NMF = "nmf"
"""The row of dictionaries."""
RESIDUAL, MIXTURE = "residual", "mixture"
"""What is measured of a draw besides PSNR, and of what."""
ATOMS = 25
"""Per dictionary."""
LEARN_FROM = 2000
"""Training pictures per dictionary, at most."""


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
    groups = _groups(digits, split)
    if min(len(digits.labels) - 1, *map(len, groups)) < 1:
        raise InputError("the data set has no two pictures to pair", "Use all of MNIST's test set.")
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        first = second = rng.choice(groups[0])
        while second == first:
            second = rng.choice(groups[1])
        yield DigitPair(f"pair-{number:05d}", as_pictures(digits.images[[first, second]]))


def learn_dictionaries(train: Digits, split: str, seed: int) -> list[Array]:
    """Atoms (R, H·W) for the first and for the second source of a pair.

    Args:
        train: training digits.
        split: ``class`` or ``none``.
        seed: of the choice of ``LEARN_FROM`` of them.

    Raises:
        InputError: there is none to learn from.
    """
    groups = _groups(train, split)
    if not all(map(len, groups)):
        raise InputError("a half of the digits has no training pictures", "Use all of MNIST's training set.")
    learnt = []
    for group in groups[: 2 if split == "class" else 1]:
        chosen = np.random.default_rng(seed).permutation(group)[:LEARN_FROM]
        examples = train.images[chosen].reshape(len(chosen), -1) / 255.0
        learnt.append(dictionary.learn(examples, ATOMS))
    return learnt if split == "class" else learnt * 2


def score_digits(
    pair: DigitPair, names: Sequence[str], rows: Mapping[str, Tensor], metrics: Sequence[str] = ("psnr",)
) -> list[TrackScore]:
    """PSNR and SSIM of every row's estimates (2, 1, H, W), in the order of the greater PSNR."""
    truth, scores = pair.sources.numpy(), []
    for method, estimates in rows.items():
        clamped = estimates.clamp(0.0, 1.0).numpy()
        table = np.array([[psnr(source, estimate) for estimate in clamped] for source in truth])
        order = best_permutation(table)
        for metric in metrics:
            values = [
                table[k, j] if metric == "psnr" else ssim(truth[k], clamped[j]) for k, j in enumerate(order)
            ]
            scores += [
                TrackScore(pair.id, method, name, metric, float(value))
                for name, value in zip(names, values, strict=True)
            ]
    return scores


def residual(pair: DigitPair, drawn: Tensor) -> TrackScore:
    """Root mean square over pixels of what a draw (2, 1, H, W), as it comes, leaves of the mixture."""
    left = (pair.sources.sum(0) - drawn.sum(0)).double().square().mean().sqrt()
    return TrackScore(pair.id, OURS, MIXTURE, RESIDUAL, float(left / STEP))


def evaluate_digits(
    data: Path,
    separator: ScoreSeparator,
    *,
    pairs: int = 6000,
    split: str = "none",
    metrics: Sequence[str] = ("psnr",),
    seed: int = 0,
    batch: int = 32,
    draws: int = 1,
    settings: Mapping[str, Any] | None = None,
    journal: Path | None = None,
    replace_journal: bool = False,
    on_step: OnStep | None = None,
) -> Report:
    """Mix, separate and score pairs of MNIST's test digits.

    Args:
        data: folder of MNIST's files; without the training files there is no row of dictionaries.
        separator: of two sources of weight 1.
        pairs: how many.
        split: ``class`` or ``none``.
        metrics: keys of ``sepcli.evaluation.protocol.PICTURES``.
        seed: of pairs, draws, dictionaries and bootstrap.
        batch: pairs that are separated together.
        draws: of several, the likeliest to the prior is a row of its own, beside that of the first.
        settings: of the separator, for the protocol.
        journal: keeps finished pairs; a run that finds its own journal continues it.
        replace_journal: start over when the journal is of a run with other settings.
        on_step: told about progress.

    Returns:
        The report; its ``cost`` holds evaluations per source and, of the pairs separated now, seconds per
        pair.

    Raises:
        UsageError: the separator is not of two sources of weight 1.
        InputError: the data cannot be read, or the pictures are too small for SSIM.
        OutputError: the journal is of a run with other settings, or cannot be written.
    """
    if tuple(separator.weights) != (1.0, 1.0):
        raise UsageError("digits are scored as sums of two", "Use a separator of two sources of weight 1.")
    test = open_digits(data, "test")
    if "ssim" in metrics and min(test.images.shape[1:]) < SSIM_WINDOW:
        raise InputError(f"ssim needs pictures of {SSIM_WINDOW} pixels or more", "leave out --metric ssim")
    dictionaries, notes = _dictionaries(data, test, split, seed)
    names = HALVES if split == "class" else ("first", "second")
    protocol = Protocol(
        metrics=(*metrics, RESIDUAL, *([NLL] if separator.density else [])),
        dataset=f"MNIST, test digits, pairs 0 … {pairs - 1}, class split: {split}",
        stems=names,
        mixture="1·first + 1·second",
        tracks=pairs,
        seed=seed,
        settings={
            **(settings or {}),
            "draws": draws,
            "batch": batch,
            "order": "the estimates of a pair in the order of the greater mean PSNR",
            NMF: _settings(dictionaries, split),
        },
    )
    finished = resume_journal(journal, protocol.fingerprint(), replace_journal)
    run = _Run(separator, names, metrics, dictionaries, seed, draws)
    batches = score_batches(
        digit_pairs(test, pairs, split, seed),
        run,
        batch=batch,
        total=pairs,
        finished=finished,
        journal=journal,
        on_step=on_step,
    )
    scores = [score for scored in batches for pair in scored.values() for score in pair]
    return replace(make_report(protocol, scores, notes=notes), cost=run.cost())


@dataclass
class _Run:
    """Separates and scores batches of pairs, and keeps the time that separating takes."""

    separator: ScoreSeparator
    names: Sequence[str]
    metrics: Sequence[str]
    dictionaries: Sequence[Array]
    seed: int
    draws: int
    seconds: float = 0.0
    pairs: int = 0

    def __call__(self, items: list[tuple[int, DigitPair]], on_step: OnStep | None) -> Scores:
        """Scores by pair."""
        mixtures = torch.stack([pair.sources.sum(0) for _, pair in items])
        seeds = torch.stack([draw_seeds(self.seed, number, self.draws) for number, _ in items])
        started = time.monotonic()
        found = self.separator(mixtures, seeds, on_step)
        drawn = found[:, 0]
        rows = {OURS: drawn}
        if self.draws > 1:
            rows[f"{OURS}-{self.draws}x"] = likeliest(self.separator, found)
        self.seconds, self.pairs = self.seconds + time.monotonic() - started, self.pairs + len(items)
        rows[AVERAGE] = torch.stack([average(mixture, (1.0, 1.0)) for mixture in mixtures])
        if self.dictionaries:
            parts = dictionary.separate(mixtures.flatten(1).double().numpy(), self.dictionaries)
            rows[NMF] = torch.from_numpy(parts).reshape(drawn.shape)
        scores = {}
        for place, (number, pair) in enumerate(items):
            own = {method: estimates[place] for method, estimates in rows.items()}
            noise = np.random.default_rng([self.seed, number])
            typical = typicality(self.separator, drawn[place], pair.sources, noise)
            scores[pair.id] = [
                *score_digits(pair, self.names, own, self.metrics),
                residual(pair, drawn[place]),
                *(TrackScore(pair.id, row, MIXTURE, NLL, bits) for row, bits in typical.items()),
            ]
        return scores

    def cost(self) -> dict[str, float]:
        """Evaluations per source and draw; seconds per pair if any was separated."""
        took = {"seconds_per_pair": self.seconds / self.pairs} if self.pairs else {}
        return {"evaluations": self.separator.evaluations, **took}


def _groups(digits: Digits, split: str) -> list[NDArray[np.intp]]:
    """Which pictures may be the first and which the second of a pair."""
    everyone = np.arange(len(digits.labels))
    if split == "class":
        return [everyone[digits.labels < 5], everyone[digits.labels >= 5]]
    return [everyone, everyone]


def _dictionaries(data: Path, test: Digits, split: str, seed: int) -> tuple[list[Array], list[str]]:
    """Dictionaries; or none, and a note that says why."""
    try:
        train = open_digits(data, "train")
        if train.images.shape[1:] != test.images.shape[1:]:
            raise InputError("training and test pictures differ in size", "Use MNIST's files.")
        return learn_dictionaries(train, split, seed), []
    except InputError as error:
        return [], [f"there is no row {NMF}: {error.message}"]


def _settings(dictionaries: Sequence[Array], split: str) -> dict[str, Any] | None:
    """Of the dictionaries, for the protocol."""
    if not dictionaries:
        return None
    return {
        "atoms": [len(atoms) for atoms in dictionaries],
        "iterations": dictionary.ITERATIONS,
        "pictures_at_most": LEARN_FROM,
        "dictionaries": "one per half" if split == "class" else "the same for both sources",
    }
