"""Whole sets of images, compared by their features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sepcli.errors import UsageError
from sepcli.evaluation.inception import NAME as INCEPTION
from sepcli.evaluation.inception import open_inception
from sepcli.evaluation.kept_images import Images
from sepcli.evaluation.score import TrackScore
from sepcli.metrics import METRICS
from sepcli.metrics.distribution import Features, Moments, frechet_interval, merged, moments
from sepcli.metrics.features import Extractor, open_classifier
from sepcli.protocols import ProgressCallback

ORIGINALS, WHOLE, STEM = "originals", "all", "images"
"""A row; track and stem of the scores of a set."""
MOST_FEATURES = 512
"""Features up to which a distance has an interval: with more, it would take hours."""
PART = 128
"""Images per call of a network."""

Intervals = dict[tuple[str, str], tuple[float, float]]
"""Metric and row → interval of the value of a set."""


@dataclass(frozen=True)
class Sets:
    """Comparison of whole sets of images with all test images.

    Attributes:
        metrics: keys of ``sepcli.metrics.METRICS``, of the scope ``set``.
        networks: extract the features of the metrics, by name.
        originals: (N, C, H, W), all test images.
        rows: names of the sets.
        images: K, images per item and row.
    """

    metrics: tuple[str, ...]
    networks: Mapping[str, Extractor]
    originals: Images
    rows: tuple[str, ...] = ()
    images: int = 1

    def check(self, count: int) -> None:
        """Raise ``UsageError`` if a network is for other images, or a set has a single one."""
        shape = self.originals.shape[1:]
        for network in self.networks.values():
            if network.shape not in (None, shape):
                raise UsageError(
                    f"{network.name} is for {_size(network.shape)} images, not {_size(shape)}",
                    "use another metric, such as fid",
                )
        if min(count, len(self.originals) // 2) < 2:
            raise UsageError("a distance of sets needs several images", "use more of them")

    def score(
        self, rows: Mapping[str, Images], on_progress: ProgressCallback | None, seed: int = 0
    ) -> tuple[list[TrackScore], list[str], Intervals]:
        """Return scores of every row and of the originals, notes, and the intervals of distances.

        The seed is that of the bootstrap. The originals' distance is that of two random halves of them: the
        effect of chance alone.
        """
        halves = np.array_split(np.random.default_rng(0).permutation(len(self.originals)), 2)
        steps = len(self.networks) * (len(self.originals) + sum(map(len, rows.values())))
        done = 0

        def progress(count: int) -> None:
            nonlocal done
            done += count
            if on_progress is not None:
                on_progress(done, steps)

        scores, notes, intervals = [], [], {}
        for network in self.networks.values():
            metrics = [metric for metric in self.metrics if METRICS[metric].network == network.name]
            first, second = (_look(network, self.originals[np.sort(half)], progress) for half in halves)
            whole = merged(first.moments, second.moments)
            seen = {row: (_look(network, images, progress), whole) for row, images in rows.items()}
            both = Features(first.moments, np.concatenate([first.classes, second.classes]))
            seen[ORIGINALS] = both, second.moments
            for metric in metrics:
                for row, (features, against) in seen.items():
                    scores += _scores(metric, row, features, against)
                    if METRICS[metric].higher_is_better or features.values is None:
                        continue
                    intervals[metric, row] = frechet_interval(
                        features.values, against, self.images, seed=seed
                    )
            least, width = min(features.moments.count for features, _ in seen.values()), len(whole.mean)
            if least <= width and not all(METRICS[metric].higher_is_better for metric in metrics):
                notes.append(
                    f"{least} images for {width} features of {network.name}: distances are far too large"
                )
        return scores, notes, intervals


def open_networks(metrics: Sequence[str], weights: Path | None, device: torch.device) -> dict[str, Extractor]:
    """Open the networks that metrics of sets need, by name.

    Raises:
        PriorError: sepcli's classifiers are missing or damaged.
        UsageError: Inception's weights or library are.
        InputError: Inception's weights cannot be read.
    """
    wanted = dict.fromkeys(METRICS[metric].network for metric in metrics if METRICS[metric].network)
    return {
        name: open_inception(weights, device) if name == INCEPTION else open_classifier(name, device)
        for name in wanted
    }


def _look(network: Extractor, images: Images, progress: Callable[[int], None]) -> Features:
    """The features of a set, part by part; of networks with many, only their moments are kept."""
    total: Moments | None = None
    classes, values = [], []
    for start in range(0, len(images), PART):
        features, probabilities = network.extract(images[start : start + PART])
        total = moments(features) if total is None else merged(total, moments(features))
        classes.append(probabilities)
        if features.shape[1] <= MOST_FEATURES:
            values.append(np.asarray(features, np.float32))
        progress(len(features))
    if total is None:
        raise ValueError("a set of no images")
    return Features(total, np.concatenate(classes), np.concatenate(values) if values else None)


def _scores(metric: str, row: str, features: Features, against: Moments) -> list[TrackScore]:
    values = METRICS[metric].resolve()(features, against)
    if len(values) == 1:
        return [TrackScore(WHOLE, row, STEM, metric, float(values[0]))]
    return [TrackScore(f"{WHOLE}, part {n}", row, STEM, metric, float(v)) for n, v in enumerate(values, 1)]


def _size(shape: Sequence[int] | None) -> str:
    channels, height, width = shape or (0, 0, 0)
    return f"{height} x {width} {'color' if channels == 3 else 'gray'}"
