"""A report: values, protocol and failures; its JSON document, tables and CSV.

The document of ``Report.as_dict``, which ``--out`` and ``--json`` write (what is not finite as null), has the
keys of ``Document``::

    format        version of this layout
    protocol      computation of values: metrics, dataset, stems, mixture, tracks, seed, settings,
                  aggregation (a sentence per metric), left_out and ci95 (the rules), version
    results       [metric][method][stem]: mean, median, ci95 [low, high] of the mean, n (tracks)
    differences   [metric][method][stem], of all methods but the first: against (the first), mean and ci95 of
                  the differences over the tracks that both have, better (share of these tracks), n, p_value
                  of the signed-rank test, p_holm (the same, adjusted for all comparisons of the metric)
    tracks        a list of single scores: track, method, stem, metric, value, left_out (windows),
                  excess (samples that were cut from an estimate, or if < 0 added)
    failed        a list of tracks that have no scores: track, reason
    notes         a list of sentences
    cost          of the separation, where that was measured
    seeds         [track]: the seed with which `sepcli separate` repeats the samples, if any

Where there are several stems, ``results`` and ``differences`` have one more, ``average``, of each track's
stems.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, NotRequired, TypedDict

import numpy as np

from sepcli.evaluation.previews import ClipsOf
from sepcli.evaluation.protocol import SILENCE, Protocol, ProtocolEntries
from sepcli.evaluation.score import TrackScore
from sepcli.evaluation.summary import (
    AVERAGE,
    Difference,
    Differences,
    Results,
    Summary,
    paired_differences,
    summarise_scores,
)
from sepcli.metrics import METRICS

FORMAT = 1
"""The format of the reports that this version writes."""
AT_SILENCE = "pes"
"""The metric of windows in which a source is silent, which the others leave out."""
MEDIANS = "Median over tracks of the medians over windows, as museval reports."
"""The caption of a table of medians."""
SIGNIFICANT = 0.05
"""Adjusted p-values below it have a star."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of cells that spreadsheets interpret as a formula (OWASP, "CSV injection")."""


@dataclass(frozen=True)
class Failure:
    """A track that could not be scored."""

    track: str
    reason: str


class Document(TypedDict):
    """The JSON document of a report; see above."""

    format: int
    protocol: ProtocolEntries
    results: Results
    differences: Differences
    tracks: list[TrackScore]
    failed: list[Failure]
    notes: list[str]
    cost: NotRequired[dict[str, float]]
    seeds: NotRequired[dict[str, int]]


@dataclass(frozen=True)
class Report:
    """An evaluation report: values, protocol and failures."""

    protocol: Protocol
    scores: tuple[TrackScore, ...]
    results: Results
    differences: Differences = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    cost: Mapping[str, float] = field(default_factory=dict)
    """Cost of the separation, if measured; not part of the protocol."""
    seeds: Mapping[str, int] = field(default_factory=dict)
    """The seed of every track, where something was separated; see ``sepcli.separation.seeds.item_seed``."""
    clips_of: ClipsOf | None = field(default=None, compare=False, repr=False)
    """Previews of the tracks that have values; not part of the document."""

    def as_dict(self) -> dict[str, Any]:
        """One JSON-like document, as described above; values without a number are NaN."""
        return {
            "format": FORMAT,
            "protocol": self.protocol.as_dict(),
            "results": _as_dicts(self.results),
            "differences": _as_dicts(self.differences),
            "tracks": [asdict(score) for score in self.scores],
            "failed": [asdict(failure) for failure in self.failures],
            "notes": list(self.notes),
            **({"cost": dict(self.cost)} if self.cost else {}),
            **({"seeds": dict(self.seeds)} if self.seeds else {}),
        }


def make_report(
    protocol: Protocol,
    scores: Sequence[TrackScore],
    failures: Sequence[Failure] = (),
    notes: Sequence[str] = (),
    intervals: Mapping[tuple[str, str], tuple[float, float]] | None = None,
) -> Report:
    """Summarise scores; a note is added when windows were left out or values are infinite.

    Args:
        protocol: of the run.
        scores: of all items.
        failures: items without scores.
        notes: sentences.
        intervals: of values of whole sets, by metric and method.
    """
    remarks = list(notes)
    silent = {score.track for score in scores if score.left_out and score.metric != AT_SILENCE}
    if silent:
        remarks.append(f"{len(silent)} track(s) have windows without SDR: {SILENCE}")
    uneven = {(score.track, score.method, score.stem): abs(score.excess) for score in scores if score.excess}
    if uneven:
        what = f"{len(uneven)} estimate(s) of {len({track for track, _, _ in uneven})} track(s)"
        remarks.append(
            f"{what} are longer or shorter than the references, by at most {max(uneven.values())} samples: "
            "they are cut at the end, or padded with silence"
        )
    if any(np.isinf(score.value) for score in scores):
        remarks.append("some values are infinite: an estimate equals its reference, or is orthogonal to it")
    without = sum(score.metric == AT_SILENCE and np.isnan(score.value) for score in scores)
    if without:
        remarks.append(f"{without} value(s) of {AT_SILENCE} are in no mean: the source is never silent there")
    missing = Counter(score.metric for score in scores if np.isnan(score.value) and not score.left_out)
    for metric, count in missing.items():
        remarks.append(
            f"{count} value(s) of {metric} are missing, and in no mean: there is silence, or no number"
        )
    results = summarise_scores(scores, protocol.seed)
    for (metric, method), interval in (intervals or {}).items():
        stems = results[metric][method]
        results[metric][method] = {stem: replace(value, ci95=interval) for stem, value in stems.items()}
    differences = paired_differences(scores, protocol.seed)
    return Report(protocol, tuple(scores), results, differences, tuple(failures), tuple(remarks))


def table(results: Results, metric: str) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of a metric's table, a row per method.

    The columns are stems and their average, as ``mean [ci95]``; the median of the last of these; and the
    number of tracks.
    """
    methods, digits = results[metric], METRICS[metric].decimals
    stems = list(next(iter(methods.values())))
    rows = []
    for method, by_stem in methods.items():
        last = by_stem[stems[-1]]
        cells = [_cell(by_stem[stem], digits) for stem in stems]
        median = f"{last.median:.{digits}f}" if last.n else "-"
        rows.append([method, *cells, median, str(max(s.n for s in by_stem.values()))])
    return [metric, *stems, "median", "tracks"], rows


def median_table(results: Results, metric: str) -> tuple[list[str], list[list[str]]] | None:
    """Return head and rows of the medians over tracks of a metric whose values are medians over windows.

    That is the median of medians that museval reports; the columns are stems, without their average. None:
    the metric has no windows, or there is a single track.
    """
    methods, digits = results[metric], METRICS[metric].decimals
    stems = [stem for stem in next(iter(methods.values())) if stem != AVERAGE]
    if not METRICS[metric].windows or max(s.n for stems in methods.values() for s in stems.values()) < 2:
        return None
    rows = [
        [method, *(f"{by[stem].median:.{digits}f}" if by[stem].n else "-" for stem in stems)]
        for method, by in methods.items()
    ]
    return [f"{metric}, median", *stems], rows


def difference_table(differences: Differences, metric: str) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of a metric's table of differences, a row per method.

    The columns are stems and their average, as ``mean [ci95]``, with a star where the adjusted p-value is
    below ``SIGNIFICANT``; of the last of these the share of the tracks in which the method is better, and the
    adjusted p-value; and the number of tracks.
    """
    methods, digits = differences[metric], METRICS[metric].decimals
    stems = list(next(iter(methods.values())))
    against = methods[next(iter(methods))][stems[0]].against
    rows = []
    for method, by_stem in methods.items():
        last = by_stem[stems[-1]]
        cells = [_cell(difference, digits, "+", starred=True) for difference in by_stem.values()]
        better = f"{100 * last.better:.0f} %" if last.n else "-"
        rows.append([method, *cells, better, p_text(last.p_holm), str(last.n)])
    return [f"{metric} minus that of {against}", *stems, "better", "p", "tracks"], rows


def p_text(value: float) -> str:
    """Return a p-value in two digits."""
    return "-" if np.isnan(value) else "<0.001" if value < 0.001 else f"{value:.2g}"


def caption(metric: str, rows: Sequence[Sequence[str]], differences: bool = False) -> str:
    """Return the caption of the rows of a metric's table, or of its table of differences.

    A single track has no intervals.
    """
    row = METRICS[metric]
    unit = f"{row.unit}, " if row.unit else ""
    interval = " [95 % interval]" if any("[" in cell for _, *cells in rows for cell in cells) else ""
    if differences:
        share = "share of the tracks in which the row is better"
        test = f"p: signed-rank test, adjusted by Holm's method; * below {SIGNIFICANT:g}"
        return f"{unit}mean of the paired differences{interval}, {share}, {test}."
    return f"{unit}mean{interval}, median of the column before. {row.rule}."


def _cell(value: Summary | Difference, digits: int, sign: str = "", starred: bool = False) -> str:
    """``mean [low, high]``; without the interval where there is none, with signs if ``sign`` is ``+``."""
    if not value.n:
        return "-"
    low, high = (f"{end:{sign}.{digits}f}" for end in value.ci95)
    star = "*" if starred and isinstance(value, Difference) and value.p_holm < SIGNIFICANT else ""
    return f"{value.mean:{sign}.{digits}f}{star}" + ("" if np.isnan(value.ci95[0]) else f" [{low}, {high}]")


def csv_text(report: Report) -> str:
    """Return comma-separated values (RFC 4180): a head, then a row per track, method, stem and metric.

    The columns are the fields of ``TrackScore``. A value that is not a number is left empty; infinite ones
    are ``inf`` and ``-inf``. Names, which may hold anything, have a ``'`` before them where a spreadsheet
    would interpret them as a formula.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(TrackScore)])
    writer.writeheader()
    for score in report.scores:
        row = {key: _as_text(cell) if isinstance(cell, str) else cell for key, cell in asdict(score).items()}
        writer.writerow(row | ({"value": ""} if np.isnan(score.value) else {}))
    return text.getvalue()


def _as_text(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _as_dicts(tree: Results | Differences) -> dict[str, dict[str, dict[str, Any]]]:
    return {
        metric: {
            method: {stem: asdict(leaf) for stem, leaf in stems.items()} for method, stems in rows.items()
        }
        for metric, rows in tree.items()
    }
