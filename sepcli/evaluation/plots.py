"""Images of reports: how the values of a metric are spread.

Names of methods and stems may come from folders: they are shown as text, never taken for formulas.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from sepcli.atomic import write_whole
from sepcli.evaluation.report import Report
from sepcli.metrics import DECIBEL, METRICS

BINS = 50
LONGEST = 40
"""Characters of a name that are shown."""


def histogram(report: Report, metric: str) -> Figure:
    """One histogram per method of a metric's values, over all tracks and stems, and a line at its mean.

    The line is at the mean that the tables show; infinite values are in no bin. It is figure 6 of Jayaram &
    Thickstun 2020, with more than one method.

    Args:
        report: Holds scores of the metric.
        metric: Named on the axis.
    """
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    labels = {}
    for method, rows in report.results[metric].items():
        mean = list(rows.values())[-1].mean
        labels[method] = (
            f"{_shown(method)}: mean {mean:.3f}"
            if METRICS[metric].unit != DECIBEL
            else f"{_shown(method)}: mean {mean:.1f} dB"
        )
    _draw_histograms(axes, report, metric, None)
    _name_axis(axes, metric)
    axes.set_ylabel("estimated sources")
    legend = axes.legend(_handles(axes, len(labels)), list(labels.values()))
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def stem_histograms(report: Report, metric: str) -> Figure:
    """``histogram`` for every stem by itself, on the same axis.

    Args:
        report: Holds scores of the metric.
        metric: Named on the axis.
    """
    stems = _stems(report, metric)
    figure = Figure(figsize=(7.0, 0.8 + 1.7 * len(stems)), layout="constrained")
    panels = figure.subplots(len(stems), sharex=True, squeeze=False)[:, 0]
    for axes, stem in zip(panels, stems, strict=True):
        _draw_histograms(axes, report, metric, stem)
        axes.set_title(_shown(stem), parse_math=False, fontsize="medium", loc="left")
    _name_axis(panels[-1], metric)
    methods = [_shown(method) for method in report.results[metric]]
    legend = figure.legend(_handles(panels[0], len(methods)), methods, loc="outside right upper")
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def box_plots(report: Report, metric: str) -> Figure:
    """Per stem, a box per method over tracks: quartiles, whiskers of 1.5 interquartile ranges, outliers.

    Args:
        report: Holds scores of the metric.
        metric: Named on the axis.
    """
    stems, methods = _stems(report, metric), list(report.results[metric])
    height = 0.8 + len(stems) * (0.5 + 0.28 * len(methods))
    figure = Figure(figsize=(7.0, height), layout="constrained")
    panels = figure.subplots(len(stems), sharex=True, squeeze=False)[:, 0]
    for axes, stem in zip(panels, stems, strict=True):
        axes.boxplot([_finite(report, metric, method, stem) for method in methods], orientation="horizontal")
        axes.set_yticks(range(1, len(methods) + 1), map(_shown, methods), parse_math=False)
        axes.invert_yaxis()  # the first method on top, as in the tables
        axes.set_title(_shown(stem), parse_math=False, fontsize="medium", loc="left")
    _name_axis(panels[-1], metric)
    return figure


def as_svg(figure: Figure) -> bytes:
    """The figure as SVG whose text is text; the same figure gives the same bytes."""
    file = io.BytesIO()
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "", "svg.fonttype": "none"}):
        warnings.filterwarnings("ignore", message="Glyph")  # of names: whoever shows the file has other fonts
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def save_histogram(report: Report, metric: str, path: Path) -> None:
    """Write ``histogram`` to a file whose name ends in the format, atomically.

    Raises:
        OutputError: It cannot be written.
    """
    save_figure(histogram(report, metric), path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a file whose name ends in the format, atomically.

    Raises:
        OutputError: It cannot be written.
    """
    file = io.BytesIO()
    figure.savefig(file, format=path.suffix[1:].lower(), dpi=150)
    write_whole(path, file.getvalue(), "choose another file")


def _draw_histograms(axes: Axes, report: Report, metric: str, stem: str | None) -> None:
    """Outlines in the order of the methods, lines at their means; of one stem, or of all together."""
    rows = report.results[metric]
    finite = {method: _finite(report, metric, method, stem) for method in rows}
    everything = np.concatenate([_finite(report, metric, method, None) for method in rows])
    edges = np.histogram_bin_edges(everything, BINS).tolist()
    for number, (method, values) in enumerate(finite.items()):
        tint = f"C{number}"
        axes.hist(values, edges, histtype="stepfilled", alpha=0.35, color=tint)
        axes.hist(values, edges, histtype="step", color=tint)
        mean = rows[method][stem].mean if stem is not None else list(rows[method].values())[-1].mean
        if np.isfinite(mean):
            axes.axvline(mean, color=tint, linestyle="--")


def _handles(axes: Axes, count: int) -> list[Patch]:
    """The outlines: every method has a filled shape before."""
    return [axes.patches[2 * number + 1] for number in range(count)]


def _finite(report: Report, metric: str, method: str, stem: str | None) -> NDArray[np.float64]:
    selected = [
        score.value
        for score in report.scores
        if (score.metric, score.method) == (metric, method) and stem in (None, score.stem)
    ]
    values = np.array(selected, dtype=np.float64)
    return values[np.isfinite(values)]


def _stems(report: Report, metric: str) -> list[str]:
    return list(dict.fromkeys(score.stem for score in report.scores if score.metric == metric))


def _shown(name: str) -> str:
    """A name as one short line, without what fonts and SVG refuse: control and half characters."""
    clean = "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in name
    )
    return clean if len(clean) <= LONGEST else f"{clean[: LONGEST - 1]}…"


def _name_axis(axes: Axes, metric: str) -> None:
    axes.set_xlabel(f"{metric.upper()} in {METRICS[metric].unit}" if METRICS[metric].unit else metric.upper())
