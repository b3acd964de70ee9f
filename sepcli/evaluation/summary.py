"""Means, medians and intervals of the scores of tracks, and differences between methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sepcli.evaluation.protocol import CI_LEVEL, CI_RESAMPLES
from sepcli.evaluation.score import TrackScore
from sepcli.metrics import METRICS
from sepcli.metrics.statistics import bootstrap_ci, holm, signed_rank

AVERAGE = "average"
"""The name of the column that averages each track's stems."""


@dataclass(frozen=True)
class Summary:
    """The values of n tracks in five numbers."""

    mean: float
    median: float
    ci95: tuple[float, float]
    """95 % interval of the mean, by bootstrap over tracks."""
    n: int


@dataclass(frozen=True)
class Difference:
    """A method against another, ``against``, over the n tracks for which both have a value."""

    against: str
    mean: float
    """Mean of the differences, track by track; positive if this method has the higher values."""
    ci95: tuple[float, float]
    """95 % interval of this mean, by bootstrap over tracks."""
    better: float
    """Share of the tracks for which this method has the better value, from 0 to 1."""
    n: int
    p_value: float = float("nan")
    """Two-sided signed-rank test of the differences; see ``sepcli.metrics.statistics.signed_rank``."""
    p_holm: float = float("nan")
    """The same, adjusted by Holm's method for all comparisons of the metric."""


Values = dict[str, dict[str, dict[str, dict[str, float]]]]
"""``values[metric][method][stem][track]``."""
Results = dict[str, dict[str, dict[str, Summary]]]
"""``results[metric][method][stem]``."""
Differences = dict[str, dict[str, dict[str, Difference]]]
"""``differences[metric][method][stem]``, of all methods but the first."""


def track_values(scores: Sequence[TrackScore]) -> Values:
    """Return scores by metric, method, stem and track, each in the order of the first appearance.

    Where there are several stems, there is the average of each track's stems; it is NaN for tracks in which a
    stem has no value.
    """
    values: Values = {}
    for score in scores:
        stems = values.setdefault(score.metric, {}).setdefault(score.method, {})
        stems.setdefault(score.stem, {})[score.track] = score.value
    for methods in values.values():
        for stems in methods.values():
            if len(stems) > 1:
                tracks = dict.fromkeys(track for by_track in stems.values() for track in by_track)
                present = {t: [of[t] for of in stems.values() if t in of] for t in tracks}
                stems[AVERAGE] = {track: sum(each) / len(each) for track, each in present.items()}
    return values


def summarise(values: Iterable[float], seed: int = 0) -> Summary:
    """Summarise the values of one metric, method and stem; NaNs are left out."""
    v = np.array([value for value in values if not np.isnan(value)], dtype=np.float64)
    if v.size == 0:
        return Summary(float("nan"), float("nan"), (float("nan"), float("nan")), 0)
    interval = bootstrap_ci(v, CI_LEVEL, CI_RESAMPLES, seed)
    with np.errstate(invalid="ignore"):  # of infinite values of both signs: NaN
        return Summary(float(v.mean()), float(np.median(v)), interval, int(v.size))


def summarise_scores(scores: Sequence[TrackScore], seed: int = 0) -> Results:
    """Summarise per metric, method and stem, and over the stems; the seed is that of the bootstrap."""
    return {
        metric: {
            method: {stem: summarise(by_track.values(), seed) for stem, by_track in stems.items()}
            for method, stems in methods.items()
        }
        for metric, methods in track_values(scores).items()
    }


def paired_differences(scores: Sequence[TrackScore], seed: int = 0) -> Differences:
    """Compare every method with the first one, track by track, but for checks and metrics of whole sets."""
    differences: Differences = {}
    for metric, methods in track_values(scores).items():
        (first, base), *others = methods.items()
        if others and METRICS[metric].scope in ("track", "item"):
            differences[metric] = {
                method: {
                    stem: difference(by_track, base[stem], first, seed, METRICS[metric].higher_is_better)
                    for stem, by_track in stems.items()
                    if stem in base
                }
                for method, stems in others
            }
            _adjust(differences[metric])
    return differences


def _adjust(methods: dict[str, dict[str, Difference]]) -> None:
    """Set the adjusted p-values of all comparisons of a metric."""
    keys = [(method, stem) for method, stems in methods.items() for stem in stems]
    adjusted = holm([methods[method][stem].p_value for method, stem in keys])
    for (method, stem), p in zip(keys, adjusted, strict=True):
        methods[method][stem] = replace(methods[method][stem], p_holm=float(p))


def difference(
    values: Mapping[str, float],
    base: Mapping[str, float],
    against: str,
    seed: int = 0,
    higher_is_better: bool = True,
) -> Difference:
    """Compare a method's values of one metric and stem, by track, with those (``base``) of ``against``.

    Tracks without a value of either, or with the same infinite value of both, are left out.
    """
    pairs = np.array([(value, base[track]) for track, value in values.items() if track in base])
    pairs = pairs.reshape(-1, 2)
    pairs = pairs[~np.isnan(pairs).any(axis=1) & ~((pairs[:, 0] == pairs[:, 1]) & np.isinf(pairs[:, 0]))]
    summary = summarise(pairs[:, 0] - pairs[:, 1], seed)
    sign = 1 if higher_is_better else -1
    better = float(np.mean(sign * pairs[:, 0] > sign * pairs[:, 1])) if len(pairs) else float("nan")
    with np.errstate(invalid="ignore"):
        p_value = signed_rank(pairs[:, 0] - pairs[:, 1])
    return Difference(against, summary.mean, summary.ci95, better, summary.n, p_value)
