"""What becomes of an evaluation's report: tables on stdout, a document, a plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.errors import OutputError, UsageError

if TYPE_CHECKING:
    from sepcli.evaluation.report import Report

PLOTS = (".png", ".pdf", ".svg")
"""How the name of a plot may end."""


def check_targets(out: Path | None, plot: Path | None, overwrite: bool) -> None:
    """Refuse files that could not be written in the end, before hours of work.

    Raises:
        UsageError: the plot's name does not say its format, or is that of the report.
        OutputError: a file is there already, or its folder is not.
    """
    if plot is not None and (plot.suffix.lower() not in PLOTS or plot == out):
        raise UsageError(f"--plot {plot} is not the name of a plot", f"let it end in {', '.join(PLOTS)}")
    for option, path in (("--out", out), ("--plot", plot)):
        if path is None:
            continue
        if path.is_dir():
            raise OutputError(f"{path} is a folder", f"give {option} the name of a file in it")
        if not path.absolute().parent.is_dir():
            raise OutputError(f"the folder of {path} does not exist", "make it first, or choose another")
        if path.exists() and not overwrite:
            raise OutputError(
                f"{path} exists already", f"give --overwrite to replace it, or another {option}"
            )


def show(report: Report, document: Mapping[str, Any], as_json: bool, quiet: bool) -> None:
    """Print a report, as its document or as tables, and what there is to say of it."""
    if as_json:
        console.emit_json(document)
    else:
        _print_tables(report)
    for failure in report.failures:
        console.warn(f"{failure.track} is not scored: {failure.reason}")
    for text in report.notes:
        console.note(f"note: {text}", quiet)


def write_plot(report: Report, path: Path, quiet: bool) -> None:
    """Draw the first metric.

    Raises:
        OutputError: the file cannot be written.
    """
    from sepcli.evaluation.plots import save_histogram

    save_histogram(report, report.protocol.metrics[0], path)
    console.note(f"wrote {path}", quiet)


def _print_tables(report: Report) -> None:
    from sepcli.evaluation.protocol import AGGREGATION, PICTURES
    from sepcli.evaluation.report import table

    rules = AGGREGATION | PICTURES
    for number, metric in enumerate(metric for metric in report.results if metric in rules):
        if number:
            console.emit("")
        columns, rows = table(report.results, metric)
        console.table(
            columns, rows, f"dB, mean [95 % interval], median of the column before. {rules[metric]}."
        )
