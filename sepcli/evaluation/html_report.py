"""A report as one page of HTML that needs nothing else: no network, no scripts, no files beside it.

All text that comes from outside, names above all, is escaped; the page's own policy forbids it to load or run
anything that is not in it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from itertools import accumulate, groupby
from typing import Any

from sepcli.errors import SepError
from sepcli.evaluation.examples import Case, pick_cases
from sepcli.evaluation.plots import as_svg, box_plots, stem_histograms
from sepcli.evaluation.previews import SECONDS, Clip, ClipsOf
from sepcli.evaluation.report import Report, difference_table, table
from sepcli.metrics import METRICS

ROOM = 8_000_000
"""Bytes of sounds or images of a track, at most."""
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1, h2, h3 { line-height: 1.2; margin: 2rem 0 .6rem } h1 { margin-top: 0 }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left } dt { font-weight: 600 } dd { margin: 0 0 .4rem 1rem }
.plain td { white-space: normal; text-align: left } small { color: #666 }
audio { width: 15rem; height: 2.2rem }
img { max-width: 100% } img.clip { width: 8rem; image-rendering: pixelated; border: 1px solid #ddd }
"""


def html_page(report: Report) -> str:
    """The page: protocol, tables, differences, plots, and tracks to look at or to listen to.

    For these, ``report.clips_of`` is asked for three tracks at most; it may have to separate them again.
    """
    body = [f"<h1>{escape(report.protocol.dataset)}</h1>", _protocol(report.protocol.as_dict())]
    body += [_metric(report, metric) for metric in report.results if METRICS[metric].scope != "check"]
    body.append(_cases(report))
    if report.failures:
        rows = [[failure.track, failure.reason] for failure in report.failures]
        body += ["<h2>Not scored</h2>", _table(["track", "reason"], rows, "plain")]
    if report.notes:
        body += ["<h2>Notes</h2><ul>", *(f"<li>{escape(note)}</li>" for note in report.notes), "</ul>"]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.protocol.dataset)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _protocol(protocol: Mapping[str, Any]) -> str:
    rows = [f"<dt>{escape(key)}</dt><dd>{escape(_words(value))}</dd>" for key, value in protocol.items()]
    return f"<details open><summary>Protocol</summary><dl>{''.join(rows)}</dl></details>"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value, default=str, ensure_ascii=False) if value else "none"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _metric(report: Report, metric: str) -> str:
    unit = f"{METRICS[metric].unit}, " if METRICS[metric].unit else ""
    rule = report.protocol.as_dict()["aggregation"].get(metric, "")
    caption = f"{unit}mean [95 % interval], median of the column before. {rule}."
    parts = [f"<h2>{escape(metric)}</h2>", _table(*table(report.results, metric)), _small(caption)]
    if metric in report.differences:
        caption = (
            f"{unit}mean of the paired differences [95 % interval], share of the tracks that are better."
        )
        parts += [_table(*difference_table(report.differences, metric)), _small(caption)]
    drawn = (
        () if METRICS[metric].scope == "set" else (box_plots, stem_histograms)
    )  # a whole set has one value
    for figure in (draw(report, metric) for draw in drawn):
        parts.append(
            f'<p><img alt="{escape(metric)} by stem" src="{_data("image/svg+xml", as_svg(figure))}"></p>'
        )
    return "\n".join(parts)


def _cases(report: Report) -> str:
    if METRICS[report.protocol.metrics[0]].scope == "set":  # then all are: no track is better than another
        return ""
    parts = [f"<h2>Best, median and worst by {escape(report.protocol.metrics[0])}</h2>"]
    for case in pick_cases(report):
        parts.append(f"<h3>{case.label}: {escape(case.track)}</h3><p>{case.value:.2f}, mean over stems</p>")
        parts.append(_clips(case, report.clips_of))
    said = f"Sound is the middle {SECONDS:g} s, mono."
    if report.clips_of is None:
        said = "The run kept no sounds or images."
    return "\n".join([*parts, _small(said)])


def _clips(case: Case, clips_of: ClipsOf | None) -> str:
    try:
        clips = clips_of(case.track) if clips_of else []
    except SepError as error:
        return _small(error.message)
    ends = accumulate(len(clip.data) for clip in clips)
    shown = [clip for clip, end in zip(clips, ends, strict=True) if end <= ROOM]
    rows = [
        "".join([f"<tr><td>{escape(row)}</td>", *(_clip(clip) for clip in members), "</tr>"])
        for row, members in groupby(shown, lambda clip: clip.row)
    ]
    table = f'<div class="wide"><table>{"".join(rows)}</table></div>' if rows else ""
    more = len(clips) - len(shown)
    return table + (_small(f"{more} more would make the page too large.") if more else "")


def _clip(clip: Clip) -> str:
    name, source = escape(clip.stem), _data(clip.mime, clip.data)
    if clip.mime.startswith("image/"):
        return f'<td>{name}<br><img class="clip" alt="{name}" src="{source}"></td>'
    return f'<td>{name}<br><audio controls preload="none" src="{source}"></audio></td>'


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table class="{kind}"><tr>{head}</tr>{body}</table></div>'


def _small(text: str) -> str:
    return f"<p><small>{escape(text)}</small></p>"


def _data(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
