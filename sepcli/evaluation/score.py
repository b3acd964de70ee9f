"""Values of one track or item: estimates against references."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepcli.metrics import METRICS
from sepcli.metrics.assignment import best_permutation
from sepcli.metrics.statistics import median_over_windows
from sepcli.metrics.tracks import Signals, Track

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class TrackScore:
    """The value of one metric for one method, stem and track."""

    track: str
    method: str
    stem: str
    metric: str
    value: float
    """In the unit of the metric; NaN when no window has a value."""
    left_out: int = 0
    """Windows without a value, because a source or an estimate is silent there."""
    excess: int = 0
    """Samples by which the estimate's file was longer than the reference and was cut; if < 0, padded."""


def score_track(
    track: str,
    method: str,
    stems: Sequence[str],
    references: Signals,
    estimates: Signals,
    mixture: Signals,
    metrics: Sequence[str],
    sample_rate: int,
) -> list[TrackScore]:
    """Score a method's estimates of all stems of a track: one value per metric and stem.

    References and estimates are (K, T, C) in the same order, the mixture (T, C).

    Raises:
        ValueError: the shapes do not fit, or a metric is not of tracks.
        InputError: museval is needed and cannot be used.
    """
    signals = Track(references, estimates, mixture, sample_rate)
    scores: list[TrackScore] = []
    for name in metrics:
        if name not in METRICS or METRICS[name].scope != "track":
            raise ValueError(f"{name!r} is not a metric of tracks")
        values = METRICS[name].resolve()(signals)
        left_out = np.zeros(len(stems), dtype=int)
        if values.ndim == 2:
            left_out, values = np.isnan(values).sum(axis=-1), median_over_windows(values)
        scores += [
            TrackScore(track, method, stem, name, float(value), int(count))
            for stem, value, count in zip(stems, values, left_out, strict=True)
        ]
    return scores


def image_values(
    item: str, row: str, stems: Sequence[str], metrics: Sequence[str], truth: Pixels, estimates: Pixels
) -> Iterator[TrackScore]:
    """Compare estimates (K, C, H, W), in the order of the sources, with the truth; both in [0, 1]."""
    for metric in metrics:
        measure = METRICS[metric].resolve()
        for stem, source, estimate in zip(stems, truth, estimates, strict=True):
            yield TrackScore(item, row, stem, metric, float(measure(source, estimate)))


def in_best_order(sources: Signals, estimates: Signals, fit: Callable[[Any, Any], Any]) -> Signals:
    """Put K estimates in the order of the greatest mean ``fit(source, estimate)``."""
    order = best_permutation([[fit(source, estimate) for estimate in estimates] for source in sources])
    return np.asarray(estimates[list(order)])
