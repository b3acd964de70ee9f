"""Figures of reports: histograms and box plots of a metric's values, and cross-likelihoods as a heat map.

Names of methods and stems may come from folders: they are shown as text, never as formulas.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from sepcli.atomic import write_whole
from sepcli.evaluation.cross_likelihood import CrossLikelihood
from sepcli.evaluation.report import Report
from sepcli.metrics import DECIBEL, METRICS

BINS = 50
LONGEST = 40
"""Characters of a name that are shown."""


def histogram(report: Report, metric: str) -> Figure:
    """One histogram per method of a metric's values, over all tracks and stems, and a line at its mean.

    The line is at the mean that the tables show; infinite values are in no bin. It is figure 6 of Jayaram &
    Thickstun 2020, with more than one method.
    """
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    style = "{}: mean {:.1f} dB" if METRICS[metric].unit == DECIBEL else "{}: mean {:.3f}"
    labels = [
        style.format(_shown(method), list(rows.values())[-1].mean)
        for method, rows in report.results[metric].items()
    ]
    _draw_histograms(axes, report, metric, None)
    _name_axis(axes, metric)
    axes.set_ylabel("estimated sources")
    _as_text(axes.legend(_handles(axes, len(labels)), labels))
    return figure


def stem_histograms(report: Report, metric: str) -> Figure:
    """``histogram`` for every stem by itself, on the same axis."""
    figure, panels = _panels(report, metric, 1.7)
    for stem, axes in panels.items():
        _draw_histograms(axes, report, metric, stem)
    methods = [_shown(method) for method in report.results[metric]]
    first = next(iter(panels.values()))
    _as_text(figure.legend(_handles(first, len(methods)), methods, loc="outside right upper"))
    return figure


def box_plots(report: Report, metric: str) -> Figure:
    """Per stem, a box per method over tracks: quartiles, whiskers of 1.5 interquartile ranges, outliers."""
    methods = list(report.results[metric])
    figure, panels = _panels(report, metric, 0.5 + 0.28 * len(methods))
    for stem, axes in panels.items():
        axes.boxplot([_finite(report, metric, method, stem) for method in methods], orientation="horizontal")
        axes.set_yticks(range(1, len(methods) + 1), map(_shown, methods), parse_math=False)
        axes.invert_yaxis()  # the first method on top, as in the tables
    return figure


def heat_map(table: CrossLikelihood) -> Figure:
    """Means by prior and source, every column shaded by the logarithm of the distance from its best.

    The cell of every source and its prior has a frame.
    """
    means, count = table.means, len(table.sources)
    below = np.log10(1e-3 + means.max(axis=0) - means)
    figure = Figure(figsize=(2.6 + 1.1 * count, 1.6 + 0.8 * count), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(-below, cmap="viridis", aspect="auto")
    middle = (below.max() + below.min()) / 2
    for (row, column), value in np.ndenumerate(means):
        tint = "white" if below[row, column] > middle else "black"
        axes.text(column, row, f"{value:.3g}", ha="center", va="center", color=tint)
    for k in range(count):
        axes.add_patch(Rectangle((k - 0.5, k - 0.5), 1, 1, fill=False, edgecolor="red", linewidth=2))
    axes.set_xticks(range(count), table.sources, parse_math=False)
    axes.set_yticks(range(count), table.priors, parse_math=False)
    axes.set_xlabel("test items")
    axes.set_ylabel("prior")
    axes.set_title("mean log-likelihood, nats per sample", fontsize="medium")
    return figure


def as_svg(figure: Figure) -> bytes:
    """The figure as SVG whose text is text; the same figure gives the same bytes."""
    file = io.BytesIO()
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "", "svg.fonttype": "none"}):
        warnings.filterwarnings("ignore", message="Glyph")  # of names: whoever shows the file has other fonts
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a file whose name ends in the format, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    file = io.BytesIO()
    figure.savefig(file, format=path.suffix[1:].lower(), dpi=150)
    write_whole(path, file.getvalue(), "choose another file")


def _panels(report: Report, metric: str, height: float) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a panel per stem, one below the other, and the metric on the axis of the last."""
    stems = list(dict.fromkeys(score.stem for score in report.scores if score.metric == metric))
    figure = Figure(figsize=(7.0, 0.8 + len(stems) * height), layout="constrained")
    panels = figure.subplots(len(stems), sharex=True, squeeze=False)[:, 0]
    for axes, stem in zip(panels, stems, strict=True):
        axes.set_title(_shown(stem), parse_math=False, fontsize="medium", loc="left")
    _name_axis(panels[-1], metric)
    return figure, dict(zip(stems, panels, strict=True))


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


def _as_text(legend: Legend) -> None:
    for text in legend.get_texts():
        text.set_parse_math(False)


def _shown(name: str) -> str:
    """A name as one short line, without what fonts and SVG refuse: control and half characters."""
    clean = "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in name
    )
    return clean if len(clean) <= LONGEST else f"{clean[: LONGEST - 1]}…"


def _name_axis(axes: Axes, metric: str) -> None:
    axes.set_xlabel(f"{metric.upper()} in {METRICS[metric].unit}" if METRICS[metric].unit else metric.upper())
