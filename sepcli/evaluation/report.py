"""From scores of tracks to the numbers of a report: means, medians, intervals; a JSON document and tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from sepcli.evaluation.protocol import CI_LEVEL, CI_RESAMPLES, SILENCE, Protocol
from sepcli.evaluation.score import TrackScore
from sepcli.metrics import bootstrap_ci

AVERAGE = "average"
"""The name of the column that averages each track's stems."""


@dataclass(frozen=True)
class Summary:
    """The values of many tracks in five numbers."""

    mean: float
    median: float
    ci95: tuple[float, float]
    """Of the mean, by bootstrap over tracks."""
    n: int
    """Tracks that have a value."""


@dataclass(frozen=True)
class Failure:
    """A track that could not be scored."""

    track: str
    reason: str


Results = dict[str, dict[str, dict[str, Summary]]]
"""``results[metric][method][stem]``."""


def summarise(values: Iterable[float], seed: int = 0) -> Summary:
    """Summarise the values of one metric, method and stem; NaNs are left out."""
    v = np.array([value for value in values if not np.isnan(value)], dtype=np.float64)
    if v.size == 0:
        return Summary(float("nan"), float("nan"), (float("nan"), float("nan")), 0)
    interval = bootstrap_ci(v, CI_LEVEL, CI_RESAMPLES, seed)
    return Summary(float(v.mean()), float(np.median(v)), interval, int(v.size))


def summarise_scores(scores: Sequence[TrackScore], seed: int = 0) -> Results:
    """Summarise per metric, method and stem, and over the stems.

    The average column is made track by track, over the tracks in which every stem has a value.

    Args:
        scores: Of all tracks; the order of metrics, methods and stems is that of their first appearance.
        seed: Of the bootstrap.
    """
    values: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for score in scores:
        stems = values.setdefault(score.metric, {}).setdefault(score.method, {})
        stems.setdefault(score.stem, {})[score.track] = score.value
    return {
        metric: {method: _summarise_stems(stems, seed) for method, stems in methods.items()}
        for metric, methods in values.items()
    }


def _summarise_stems(stems: Mapping[str, Mapping[str, float]], seed: int) -> dict[str, Summary]:
    summaries = {stem: summarise(by_track.values(), seed) for stem, by_track in stems.items()}
    if len(stems) > 1:
        tracks = next(iter(stems.values()))
        means = [sum(by_track.get(t, np.nan) for by_track in stems.values()) / len(stems) for t in tracks]
        summaries[AVERAGE] = summarise(means, seed)
    return summaries


@dataclass(frozen=True)
class Report:
    """What was measured, how, and what could not be."""

    protocol: Protocol
    scores: tuple[TrackScore, ...]
    results: Results
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    cost: Mapping[str, float] = field(default_factory=dict)
    """What separating took, where that was measured; it is no part of the protocol."""

    def as_dict(self) -> dict[str, Any]:
        """One JSON-like document; values without a number are NaN.

        ``results[metric][method][stem]`` holds ``mean``, ``median``, ``ci95``, ``n``; ``tracks`` all scores.
        """
        return {
            "protocol": self.protocol.as_dict(),
            "results": {
                metric: {
                    method: {stem: asdict(s) for stem, s in stems.items()} for method, stems in rows.items()
                }
                for metric, rows in self.results.items()
            },
            "tracks": [asdict(score) for score in self.scores],
            "failed": [asdict(failure) for failure in self.failures],
            "notes": list(self.notes),
            **({"cost": dict(self.cost)} if self.cost else {}),
        }


def make_report(
    protocol: Protocol,
    scores: Sequence[TrackScore],
    failures: Sequence[Failure] = (),
    notes: Sequence[str] = (),
) -> Report:
    """Summarise scores; a note is added when windows were left out or values are infinite."""
    found = list(notes)
    silent = {score.track for score in scores if score.left_out}
    if silent:
        found.append(f"{len(silent)} track(s) have windows without SDR: {SILENCE}")
    if any(np.isinf(score.value) for score in scores):
        found.append("some values are infinite: an estimate equals its reference, or has nothing of it")
    results = summarise_scores(scores, protocol.seed)
    return Report(protocol, tuple(scores), results, tuple(failures), tuple(found))


def table(results: Results, metric: str) -> tuple[list[str], list[list[str]]]:
    """A metric's table: methods as rows; as columns stems and their average, in dB as ``mean [ci95]``.

    The last of these columns is followed by its median and the number of tracks.

    Returns:
        The heads and the rows.
    """
    methods = results[metric]
    stems = list(next(iter(methods.values())))
    rows = [
        [
            method,
            *(_cell(by_stem[stem]) for stem in stems),
            f"{by_stem[stems[-1]].median:.2f}" if by_stem[stems[-1]].n else "-",
            str(max(s.n for s in by_stem.values())),
        ]
        for method, by_stem in methods.items()
    ]
    return [metric, *stems, "median", "tracks"], rows


def _cell(summary: Summary) -> str:
    if summary.n == 0:
        return "-"
    low, high = summary.ci95
    interval = "" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return f"{summary.mean:.2f}{interval}"
