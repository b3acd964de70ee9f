"""A report as one page of HTML that needs nothing else: no network, no files beside it.

The results come first; then a list of all tracks, which can be sorted and filtered, and their previews, best,
median and worst first, as far as there is room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sepcli.errors import SepError
from sepcli.evaluation.html_tracks import Shown, show_track
from sepcli.evaluation.plots import as_svg, box_plots, stem_histograms
from sepcli.evaluation.previews import SECONDS
from sepcli.evaluation.report import MEDIANS, Report, caption, difference_table, median_table, table
from sepcli.evaluation.summary import Values, track_values
from sepcli.metrics import METRICS
from sepcli.pages.shell import data_url, render
from sepcli.protocols import ProgressCallback

ROOM = 40_000_000
"""Bytes of previews in a page, at most."""
SEPARATED_AGAIN = 3
"""Tracks with previews where they have to be separated again for them."""
NAMES = {
    "metrics": "Metrics",
    "dataset": "Data set",
    "stems": "Stems",
    "mixture": "Mixture",
    "tracks": "Tracks",
    "seed": "Seed",
    "aggregation": "Aggregation",
    "left_out": "Left out",
    "ci95": "95 % intervals",
    "version": "Version of sepcli",
}
"""Entry of a protocol → its name in a page."""
TITLES = {
    "usdr": "uSDR",
    "si-sdri": "SI-SDRi",
    "mrstft": "Multi-resolution STFT distance",
    "pes": "Energy where the reference is silent",
    "nll": "Negative log-likelihood",
    "cross-likelihood": "Cross-likelihood",
    "is": "Inception score",
}
"""Metric → its heading; the others are in capitals."""


class Case(NamedTuple):
    """A track that stands for others, best, median or worst, and its value, averaged over stems."""

    label: str
    track: str
    value: float


def html_page(
    report: Report,
    previews: int | None = None,
    room: int = ROOM,
    on_progress: ProgressCallback | None = None,
) -> str:
    """Return the page: results, tracks with previews, protocol, failures and notes.

    Args:
        report: of an evaluation.
        previews: tracks with previews; None: all, but ``SEPARATED_AGAIN`` where they are separated again.
        room: bytes of all previews, at most.
        on_progress: called after every track.
    """
    first = report.protocol.metrics[0]
    of_sets = METRICS[first].scope == "set"
    values = {} if of_sets else track_values(report.scores)
    cases = [] if of_sets else pick_cases(report)
    most = previews if previews is not None else SEPARATED_AGAIN if report.seeds else None
    shown, note = _previews(report, values, cases, most, room, on_progress)
    return render(
        "report.html.j2",
        title=f"{report.protocol.dataset[:1].upper()}{report.protocol.dataset[1:]}",
        lead=_lead(report),
        metrics=[_metric(report, name) for name in report.results if METRICS[name].scope != "check"],
        by="" if of_sets else title_of(first),
        columns=[] if of_sets else [*values[first]],
        tracks=[] if of_sets else _tracks(values[first], shown),
        shown=shown,
        about_previews=note,
        protocol=_protocol(report),
        failures=[(failure.track, failure.reason) for failure in report.failures],
        notes=report.notes,
    )


def title_of(metric: str) -> str:
    """Return the name of a metric in headings."""
    return TITLES.get(metric, metric.upper())


def pick_cases(report: Report) -> list[Case]:
    """Return the best, the median and the worst track of the first method in the first metric, each once.

    The median is a track, the lower of two in the middle. Tracks without a value are left out.
    """
    metric = report.protocol.metrics[0]
    methods = track_values(report.scores)[metric]
    values = list(next(iter(methods.values())).values())[-1]
    ranked = sorted((value, track) for track, value in values.items() if not np.isnan(value))
    if not METRICS[metric].higher_is_better:
        ranked.reverse()
    if not ranked:
        return []
    cases: dict[str, Case] = {}
    for label, rank in {"best": -1, "median": (len(ranked) - 1) // 2, "worst": 0}.items():
        value, track = ranked[rank]
        cases.setdefault(track, Case(label, track, value))
    return list(cases.values())


def _previews(
    report: Report,
    values: Values,
    cases: Sequence[Case],
    most: int | None,
    room: int,
    on_progress: ProgressCallback | None,
) -> tuple[list[Shown], str]:
    """Return tracks with their previews, and a sentence on those."""
    if report.clips_of is None or not values:
        return [], "The run kept no previews." if values else ""
    labels = {case.track: case.label for case in cases}
    all_tracks = [*labels, *(score.track for score in report.scores)]
    wanted = [*dict.fromkeys(all_tracks)]
    chosen = wanted if most is None else wanted[:most]
    shown: list[Shown] = []
    for number, track in enumerate(chosen):
        try:
            clips, note = report.clips_of(track), ""
        except SepError as error:
            clips, note = [], error.message
        if not clips and not note:
            continue  # the name of a whole set
        one = show_track(f"track-{number}", track, labels.get(track, ""), clips, values, note)
        if shown and sum(other.size for other in shown) + one.size > room:
            break
        shown.append(one)
        if on_progress is not None:
            on_progress(number + 1, len(chosen))
    missing = len(wanted) - len(shown)
    parts = [f"Audio is the middle {SECONDS:g} s as MP3; what the tables say is of the whole tracks."]
    if missing > 0:
        reason = "the page would be too large" if len(shown) < len(chosen) else "more with --previews N"
        parts.append(f"{missing} tracks have no preview: {reason}.")
    return shown, " ".join(parts)


def _tracks(methods: Mapping[str, Mapping[str, Mapping[str, float]]], shown: Sequence[Shown]) -> list[Any]:
    """Return the rows of the list: track, its preview, and per method the average of its stems."""
    columns = [list(stems.values())[-1] for stems in methods.values()]
    ids = {one.track: one for one in shown}
    tracks = dict.fromkeys(track for column in columns for track in column)
    return [
        {
            "name": track,
            "id": ids[track].id if track in ids else "",
            "label": ids[track].label if track in ids else "",
            "values": [_number(column.get(track, np.nan)) for column in columns],
        }
        for track in tracks
    ]


def _number(value: float) -> tuple[str, str]:
    """Return a number to sort by, and as text."""
    return ("", "–") if np.isnan(value) else (f"{value:.6g}", f"{value:.2f}")


def _lead(report: Report) -> str:
    name = report.protocol.metrics[0]
    methods = report.results[name]
    method, stems = next(iter(methods.items()))
    value, unit = [*stems.values()][-1], METRICS[name].unit
    count = "" if METRICS[name].scope == "set" else f", {value.n} track{'s' if value.n != 1 else ''}"
    digits = METRICS[name].decimals
    return f"{method}: {title_of(name)} {value.mean:.{digits}f}{f' {unit}' if unit else ''}{count}."


def _protocol(report: Report) -> list[tuple[str, str]]:
    """Return the entries of the protocol with their names, settings one by one."""
    rows = []
    for key, value in report.protocol.as_dict().items():
        if key == "settings":
            rows += [(f"Setting: {name.replace('_', ' ')}", _words(one)) for name, one in value.items()]
        else:
            rows.append((NAMES.get(key, key.replace("_", " ")), _words(value)))
    return rows


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = [f"{str(key).replace('_', ' ')}: {_words(one)}" for key, one in value.items()]
        return "; ".join(parts) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _metric(report: Report, name: str) -> dict[str, Any]:
    """The tables of a metric with their captions, and its figures; a whole set has one value."""
    head, rows = table(report.results, name)
    tables = [(caption(name, rows), head, rows)]
    if (medians := median_table(report.results, name)) is not None:
        tables.append((MEDIANS, *medians))
    if name in report.differences:
        head, rows = difference_table(report.differences, name)
        tables.append((caption(name, rows, differences=True), head, rows))
    plots = {} if METRICS[name].scope == "set" else {"Box plots": box_plots, "Histograms": stem_histograms}
    drawings = {title: as_svg(plot(report, name)) for title, plot in plots.items()}
    figures = [(title, data_url("image/svg+xml", drawing)) for title, drawing in drawings.items()]
    return {"name": name, "title": title_of(name), "tables": tables, "figures": figures}
