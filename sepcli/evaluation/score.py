"""One track's estimates against its references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sepcli.evaluation.protocol import WINDOW_SECONDS
from sepcli.metrics import bsseval
from sepcli.metrics import items as m

Signals = NDArray[np.float32]


@dataclass(frozen=True)
class TrackScore:
    """One number: how well one method estimated one stem of one track."""

    track: str
    method: str
    stem: str
    metric: str
    value: float
    """In dB, but for SSIM and the residual; NaN when no window has a value."""
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
        track: Its name.
        method: Who made the estimates.
        stems: K names.
        references: (K, T, C), the true sources.
        estimates: (K, T, C), in the same order.
        mixture: (T, C), only looked at by ``si-sdri``.
        metrics: Keys of ``sepcli.evaluation.protocol.AGGREGATION``; ISR, SIR and SAR are computed together.
        sample_rate: In Hz.

    Returns:
        One score per metric and stem.

    Raises:
        ValueError: if the shapes do not fit or a metric is unknown.
        InputError: if museval is needed and cannot be used.
    """
    window = round(WINDOW_SECONDS * sample_rate)
    framewise = {"sdr": m.sdr(references, estimates, window)} if "sdr" in metrics else {}
    if set(metrics) & set(bsseval.NAMES):
        framewise |= zip(bsseval.NAMES, bsseval.bss_eval(references, estimates, window), strict=True)
    scores: list[TrackScore] = []
    for metric in metrics:
        if metric in framewise:
            left_out = np.isnan(framewise[metric]).sum(axis=-1)
            values = m.median_over_windows(framewise[metric])
        else:  # source by source: a whole track in float64 takes memory
            left_out = np.zeros(len(stems), dtype=int)
            values = np.array(
                [_whole_track(metric, s, e, mixture) for s, e in zip(references, estimates, strict=True)]
            )
        scores += [
            TrackScore(track, method, stem, metric, float(value), int(count))
            for stem, value, count in zip(stems, values, left_out, strict=True)
        ]
    return scores


def _whole_track(metric: str, reference: Signals, estimate: Signals, mixture: Signals) -> float:
    if metric == "usdr":
        return float(m.usdr(reference, estimate))
    if metric == "si-sdr":
        return float(m.si_sdr(reference, estimate))
    if metric == "si-sdri":
        return float(m.si_sdr_improvement(reference, estimate, mixture))
    raise ValueError(f"unknown metric {metric!r}")
