"""Values of one track: estimates against references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sepcli.metrics import METRICS
from sepcli.metrics.statistics import median_over_windows
from sepcli.metrics.tracks import Signals, Track

__all__ = ["Signals", "TrackScore", "score_track"]


@dataclass(frozen=True)
class TrackScore:
    """One value: how well one method estimates one stem of one track."""

    track: str
    method: str
    stem: str
    metric: str
    value: float
    """In the unit of the metric; NaN when no window has a value."""
    left_out: int = 0
    """Windows without a value, because a source or an estimate is silent there."""


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
    """Score all stems of a track.

    Args:
        track: its name.
        method: of the estimates.
        stems: K names.
        references: (K, T, C), the true sources.
        estimates: (K, T, C), in the same order.
        mixture: (T, C).
        metrics: keys of ``sepcli.metrics.METRICS``, of the scope ``track``.
        sample_rate: Hz.

    Returns:
        One value per metric and stem.

    Raises:
        ValueError: if the shapes do not fit or a metric is not of tracks.
        InputError: if museval is needed and cannot be used.
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
