"""BASIS' protocol: sums of two test images, separated, each pair scored in its better order.

PSNR is 10 log10(1/mean squared error) of images clamped to [0, 1]; the estimates of a pair are put in the
order of the greater mean PSNR, for SSIM as well. Beside the separations stands half the mixture, and what
dictionaries make of it, where there are some. Sets of separated images are compared with all test images.

Source: Jayaram & Thickstun 2020 (BASIS), section 5.1 and tables 2 and 3; section 4 for the residual.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.baselines import supervised_nmf as dictionary
from sepcli.baselines.masks import Array
from sepcli.errors import InputError, UsageError
from sepcli.evaluation.baselines import AVERAGE, average
from sepcli.evaluation.batches import Scores, check_finite, draw_seeds
from sepcli.evaluation.distribution import Images
from sepcli.evaluation.image_runs import ImageRun, closeness, evaluate_items
from sepcli.evaluation.likelihoods import NLL, OURS, likeliest, typicality
from sepcli.evaluation.previews import REFERENCE, Clip, clips_of_rows, encode_image
from sepcli.evaluation.report import Report
from sepcli.evaluation.score import TrackScore
from sepcli.metrics.assignment import best_permutation
from sepcli.metrics.images import psnr, residual_rms
from sepcli.priors.images.train_task import to_float_images
from sepcli.protocols import Engine, ProgressCallback

NMF = "nmf"
"""The row of dictionaries."""
RESIDUAL, MIXTURE = "residual", "mixture"
"""What is measured of a draw besides, and of what."""


@dataclass(frozen=True)
class ImagePair:
    """Two images to be mixed.

    Attributes:
        id: its name in reports.
        sources: (2, C, H, W), float32 in [0, 1].
    """

    id: str
    sources: Tensor


@dataclass(frozen=True)
class Group:
    """Images that one of a pair is chosen from.

    Attributes:
        images: (N, C, H, W) uint8; of two groups that share them, a pair is of different ones.
        chosen: which of them.
    """

    images: Images
    chosen: NDArray[np.intp]


@dataclass(frozen=True)
class PairSource:
    """Where pairs come from.

    Attributes:
        dataset: in words.
        split: how the two of a pair are chosen, in words.
        names: of the two sources.
        groups: of the first and of the second of a pair.
        dictionaries: of the two sources, if there are some, for a row of their own.
        settings: more that the protocol says.
        notes: for the report.
    """

    dataset: str
    split: str
    names: tuple[str, str]
    groups: tuple[Group, Group]
    dictionaries: Sequence[Array] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def originals(self) -> Images:
        """All images of both groups' arrays."""
        first, second = (group.images for group in self.groups)
        return first if first is second else np.concatenate([first, second])


def random_pairs(groups: tuple[Group, Group], count: int, seed: int) -> Iterator[ImagePair]:
    """Random pairs; pair number n depends on the seed and n only.

    Raises:
        InputError: there are no two images to pair.
    """
    first, second = groups
    together = first.images is second.images
    few = together and len(np.union1d(first.chosen, second.chosen)) < 2
    if few or not (len(first.chosen) and len(second.chosen)):
        raise InputError("the data set has no two images to pair", "use the whole test set")
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        one = rng.choice(first.chosen)
        other = rng.choice(second.chosen)
        while together and other == one:
            other = rng.choice(second.chosen)
        pair = np.stack([first.images[one], second.images[other]])
        yield ImagePair(f"pair-{number:05d}", to_float_images(pair))


def score_pair(
    pair: ImagePair, names: Sequence[str], rows: Mapping[str, Tensor], metrics: Sequence[str] = ("psnr",)
) -> list[TrackScore]:
    """PSNR and SSIM of every row's estimates (2, C, H, W), in the order of the greater PSNR."""
    truth, scores = pair.sources.numpy(), []
    for method, estimates in rows.items():
        clamped = estimates.clamp(0.0, 1.0).numpy()
        order = _best_order(truth, clamped)
        for metric in metrics:
            values = [closeness(metric, truth[k], clamped[j]) for k, j in enumerate(order)]
            scores += [
                TrackScore(pair.id, method, name, metric, value)
                for name, value in zip(names, values, strict=True)
            ]
    return scores


def _best_order(truth: NDArray[np.float32], clamped: NDArray[np.float32]) -> list[int]:
    """Which estimate belongs to which source, so that the mean PSNR is greatest."""
    return list(best_permutation([[psnr(source, estimate) for estimate in clamped] for source in truth]))


def residual(pair: ImagePair, drawn: Tensor) -> TrackScore:
    """Root mean square over pixels of what a draw (2, C, H, W), as it comes, leaves of the mixture."""
    left = residual_rms(pair.sources.sum(0), drawn.sum(0))
    return TrackScore(pair.id, OURS, MIXTURE, RESIDUAL, left)


def evaluate_pairs(source: PairSource, separator: Engine, run: ImageRun, pairs: int) -> Report:
    """Mix, separate and score pairs of images.

    Args:
        source: of the pairs.
        separator: of two sources of weight 1.
        run: how.
        pairs: how many.

    Returns:
        The report; its ``cost`` holds evaluations per source and, of the pairs separated now, seconds per
        pair.

    Raises:
        UsageError: the separator is not of two sources of weight 1, or a metric not for such images.
        InputError: there are no pairs, or the images are too small for SSIM.
        OutputError: the journal is of a run with other settings, or cannot be written.
    """
    if tuple(separator.weights) != (1.0, 1.0):
        raise UsageError("images are scored as sums of two", "use a separator of two sources of weight 1")
    originals = source.originals
    rules = run.rules(
        (RESIDUAL, *([NLL] if separator.density else [])),
        dataset=f"{source.dataset}, pairs 0 … {pairs - 1}, {source.split}",
        stems=source.names,
        mixture="1·first + 1·second",
        tracks=pairs,
        settings={
            "order": "the estimates of a pair in the order of the greater mean PSNR",
            "test_images": len(originals),
            **source.settings,
        },
    )
    work = _Separating(separator, source, run)

    def items() -> Iterator[ImagePair]:
        return random_pairs(source.groups, pairs, run.seed)

    return evaluate_items(run, rules, items, work, originals, 2, source.notes)


@dataclass
class _Separating:
    """Separates and scores batches of pairs, and keeps the time that separating takes."""

    separator: Engine
    source: PairSource
    run: ImageRun
    seconds: float = 0.0
    pairs: int = 0

    @property
    def rows(self) -> tuple[str, ...]:
        """Ours, the likeliest of several, and those beside."""
        several = (f"{OURS}-{self.run.draws}x",) if self.run.draws > 1 else ()
        return (OURS, *several, AVERAGE, *((NMF,) if self.source.dictionaries else ()))

    def __call__(
        self, items: Sequence[tuple[int, ImagePair]], on_progress: ProgressCallback | None
    ) -> tuple[Scores, dict[str, Tensor]]:
        """Scores by pair, and by row the estimates (B, 2, C, H, W)."""
        mixtures = torch.stack([pair.sources.sum(0) for _, pair in items])
        seeds = torch.stack([draw_seeds(self.run.seed, number, self.run.draws) for number, _ in items])
        started = time.monotonic()
        found = self.separator.sample(mixtures, seeds, on_progress)
        check_finite(found, [pair for _, pair in items])
        made = [found[:, 0]]
        if self.run.draws > 1:
            made.append(likeliest(self.separator, found))
        self.seconds, self.pairs = self.seconds + time.monotonic() - started, self.pairs + len(items)
        made.append(torch.stack([average(mixture, (1.0, 1.0)) for mixture in mixtures]))
        if self.source.dictionaries:
            parts = dictionary.separate(mixtures.flatten(1).double().numpy(), self.source.dictionaries)
            made.append(torch.from_numpy(parts).reshape(made[0].shape))
        rows = dict(zip(self.rows, made, strict=True))
        return {
            pair.id: self._score(place, number, pair, rows) for place, (number, pair) in enumerate(items)
        }, rows

    def clips(self, number: int, item: ImagePair) -> list[Clip]:
        """The mean of the pair, which is half the mixture, the pair, and every row's estimates."""
        truth = item.sources.numpy()
        shown = {REFERENCE: truth}
        for row, estimates in self([(number, item)], None)[1].items():
            clamped = estimates[0].clamp(0.0, 1.0).numpy()
            shown[row] = clamped[_best_order(truth, clamped)]
        return clips_of_rows(self.source.names, truth.mean(0), shown, encode_image)

    def cost(self) -> dict[str, float]:
        """Evaluations per source and draw; seconds per pair if any was separated."""
        took = {"seconds_per_pair": self.seconds / self.pairs} if self.pairs else {}
        return {"evaluations": self.separator.evaluations, **took}

    def _score(
        self, place: int, number: int, pair: ImagePair, rows: Mapping[str, Tensor]
    ) -> list[TrackScore]:
        drawn = rows[OURS][place]
        noise = np.random.default_rng([self.run.seed, number])
        typical = typicality(self.separator, drawn, pair.sources, noise)
        own = {method: estimates[place] for method, estimates in rows.items()}
        return [
            *score_pair(pair, self.source.names, own, self.run.of_items),
            residual(pair, drawn),
            *(TrackScore(pair.id, row, MIXTURE, NLL, bits) for row, bits in typical.items()),
        ]
