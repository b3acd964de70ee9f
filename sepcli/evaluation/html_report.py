"""A report as one page of HTML that needs nothing else: no network, no scripts, no files beside it.

jinja2 escapes all text that comes from outside, names above all; the page's policy forbids it to load or
run anything that is not in it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sepcli.errors import SepError
from sepcli.evaluation.plots import as_svg, box_plots, stem_histograms
from sepcli.evaluation.previews import SECONDS, Clip, ClipsOf
from sepcli.evaluation.report import Report, caption, difference_table, table
from sepcli.evaluation.summary import track_values
from sepcli.metrics import METRICS

ROOM = 8_000_000
"""Bytes of previews of a track, at most."""
TEMPLATE = Path(__file__).with_name("report.html.j2")


class Case(NamedTuple):
    """A track that stands for others, best, median or worst, and its value, averaged over stems."""

    label: str
    track: str
    value: float


def html_page(report: Report, room: int = ROOM) -> str:
    """Return the page: protocol, tables, differences, plots, and tracks to look at or to listen to.

    There are ``room`` bytes of previews of a track at most; three tracks may be separated again for them.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    first = report.protocol.metrics[0]
    cases = [] if METRICS[first].scope == "set" else pick_cases(report)
    without = "The run kept no previews."
    page: str = environment.get_template(TEMPLATE.name).render(
        title=report.protocol.dataset,
        protocol=[(key, _words(value)) for key, value in report.protocol.as_dict().items()],
        metrics=[_metric(report, name) for name in report.results if METRICS[name].scope != "check"],
        by="" if METRICS[first].scope == "set" else first,
        examples=[_example(case, report.clips_of, room) for case in cases],
        about_examples=f"Sound is the middle {SECONDS:g} s, mono." if report.clips_of else without,
        failures=[(failure.track, failure.reason) for failure in report.failures],
        notes=report.notes,
    )
    return page + "\n"


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


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value, default=str, ensure_ascii=False) if value else "none"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _metric(report: Report, name: str) -> dict[str, Any]:
    """The tables of a metric with their captions, and its figures; a whole set has one value."""
    head, rows = table(report.results, name)
    tables = [(caption(name, rows), head, rows)]
    if name in report.differences:
        head, rows = difference_table(report.differences, name)
        tables.append((caption(name, rows, differences=True), head, rows))
    plots = () if METRICS[name].scope == "set" else (box_plots, stem_histograms)
    figures = [_data("image/svg+xml", as_svg(plot(report, name))) for plot in plots]
    return {"name": name, "tables": tables, "figures": figures}


def _example(case: Case, clips_of: ClipsOf | None, room: int) -> dict[str, Any]:
    """A track and its previews, as many as fit into ``room`` bytes."""
    shown = {"label": case.label, "track": case.track, "value": f"{case.value:.2f}", "rows": [], "note": ""}
    try:
        clips = clips_of(case.track) if clips_of else []
    except SepError as error:
        return shown | {"note": error.message}
    ends = accumulate(len(clip.data) for clip in clips)
    fitting = [clip for clip, end in zip(clips, ends, strict=True) if end <= room]
    rows = [
        (row, [_clip(clip) for clip in members]) for row, members in groupby(fitting, lambda clip: clip.row)
    ]
    more = len(clips) - len(fitting)
    return shown | {"rows": rows, "note": f"{more} more would make the page too large." if more else ""}


def _clip(clip: Clip) -> dict[str, Any]:
    image = clip.mime.startswith("image/")
    return {"stem": clip.stem, "image": image, "source": _data(clip.mime, clip.data)}


def _data(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
