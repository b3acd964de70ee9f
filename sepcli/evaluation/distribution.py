"""Whole sets of images: kept in 8 bits while a run goes on, compared by their features at its end."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.errors import OutputError, UsageError
from sepcli.evaluation.inception import NAME as INCEPTION
from sepcli.evaluation.inception import open_inception
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
Images = NDArray[np.uint8]  # (N, C, H, W)


@dataclass(frozen=True)
class ImageFile:
    """Images of 8 bits, (N, K, C, H, W) per row, of N items with K images each, in one file of fixed size."""

    file: BinaryIO
    rows: Sequence[str]
    shape: tuple[int, ...]

    def put(self, number: int, row: str, images: Tensor) -> None:
        """Keep an item's images (K, C, H, W) in [0, 1] of one row."""
        data = (images.clamp(0.0, 1.0) * 255.0).round().byte().numpy().tobytes()
        try:
            self.file.seek((self.rows.index(row) * self.shape[0] + number) * len(data))
            self.file.write(data)
            self.file.flush()
        except OSError as error:
            raise OutputError(f"cannot keep images: {error.strerror}", "free some space") from error

    def sets(self) -> dict[str, Images]:
        """All images by row, mapped into memory."""
        count, each, *image = self.shape
        mapped = np.memmap(self.file, np.uint8, "r", shape=(len(self.rows), count * each, *image))
        return dict(zip(self.rows, mapped, strict=True))


def image_place(journal: Path) -> Path:
    """Return the path of a run's images, beside its journal."""
    return journal.with_name(f"{journal.name}.images")


def has_images(path: Path, rows: Sequence[str], shape: tuple[int, ...]) -> bool:
    """Whether a file has the size of the images of a run."""
    return path.is_file() and path.stat().st_size == len(rows) * math.prod(shape)


@contextmanager
def keep_images(
    rows: Sequence[str], shape: tuple[int, ...], path: Path | None, go_on: bool
) -> Iterator[ImageFile]:
    """Open a file for images (N, K, C, H, W) of every row, a temporary one without a path.

    An existing file is continued with ``go_on``, else replaced.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        if path is None:
            file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115
        elif go_on:
            file = path.open("r+b")
        else:
            path.unlink(missing_ok=True)  # not written through if it is a link
            file = path.open("x+b")
    except OSError as error:
        message = f"cannot keep images: {error.strerror}"
        raise OutputError(message, "choose another file for the report") from error
    with file:
        try:
            file.truncate(len(rows) * math.prod(shape))
        except (OSError, OverflowError) as error:  # too large for the disk, or for a file
            with suppress(OSError):
                if path is not None:
                    path.unlink()
            reason = getattr(error, "strerror", None) or "they are too many"
            raise OutputError(f"cannot keep images: {reason}", "ask for fewer") from error
        yield ImageFile(file, rows, shape)


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
