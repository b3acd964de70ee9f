"""Pictures of reports: how the values of a metric are spread."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sepcli.errors import OutputError
from sepcli.evaluation.report import Report

BINS = 50


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
    values = {
        method: np.array([s.value for s in report.scores if (s.metric, s.method) == (metric, method)])
        for method in report.results[metric]
    }
    finite = {method: v[np.isfinite(v)] for method, v in values.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(finite.values())), BINS)
    for number, (method, v) in enumerate(finite.items()):
        colour = f"C{number}"
        mean = list(report.results[metric][method].values())[-1].mean
        axes.hist(v, edges.tolist(), histtype="stepfilled", alpha=0.35, color=colour)
        axes.hist(v, edges.tolist(), histtype="step", color=colour, label=f"{method}: mean {mean:.1f} dB")
        if np.isfinite(mean):
            axes.axvline(mean, color=colour, linestyle="--")
    axes.set_xlabel(f"{metric.upper()} in dB")
    axes.set_ylabel("estimated sources")
    axes.legend()
    return figure


def save_histogram(report: Report, metric: str, path: Path) -> None:
    """Write ``histogram`` to a file whose name ends in the format, atomically.

    Raises:
        OutputError: It cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        histogram(report, metric).savefig(part, format=path.suffix[1:].lower(), dpi=150)
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", "choose another --plot") from error
    finally:
        part.unlink(missing_ok=True)
