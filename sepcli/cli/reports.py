"""What becomes of an evaluation's report: tables on stdout, a document, a plot, a page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.errors import OutputError, UsageError
from sepcli.metrics import METRICS

if TYPE_CHECKING:
    from sepcli.evaluation.report import Report

PLOTS = (".png", ".pdf", ".svg")
"""How the name of a plot may end."""


def check_targets(targets: Mapping[str, Path | None], overwrite: bool, journal: Path | None = None) -> None:
    """Refuse files that could not be written in the end, before hours of work.

    Args:
        targets: By option.
        overwrite: Whether files may be replaced.
        journal: Another file that the run writes, and removes in the end.

    Raises:
        UsageError: the plot's name does not say its format, or a file is asked for twice.
        OutputError: a file is there already, or its folder is not or may not be written.
    """
    given = {option: path for option, path in targets.items() if path is not None}
    plot = given.get("--plot")
    if plot is not None and plot.suffix.lower() not in PLOTS:
        raise UsageError(f"--plot {plot} is not the name of a plot", f"let it end in {', '.join(PLOTS)}")
    places = {path.absolute() for path in given.values()}
    if journal is not None and journal.absolute() in places:
        raise UsageError(f"{journal} is where the run keeps what is finished", "choose another name")
    if len(places) < len(given):
        raise UsageError(f"{', '.join(given)} name the same file twice", "give each its own")
    for option, path in given.items():
        if path.is_dir():
            raise OutputError(f"{path} is a folder", f"give {option} the name of a file in it")
        if not path.absolute().parent.is_dir():
            raise OutputError(f"the folder of {path} does not exist", "make it first, or choose another")
        if not os.access(path.absolute().parent, os.W_OK):
            raise OutputError(f"the folder of {path} may not be written", f"choose another {option}")
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


def write_files(
    report: Report,
    targets: Mapping[str, Path | None],
    quiet: bool,
) -> None:
    """Write the plot of the first metric, the scores as CSV and the page, as far as they are asked for.

    Args:
        report: What to write.
        targets: By option; others than these three are left alone.
        quiet: Say nothing.

    Raises:
        OutputError: a file cannot be written.
    """
    for option, path in targets.items():
        if path is None or option not in ("--plot", "--csv", "--html"):
            continue
        if option == "--plot":
            from sepcli.evaluation.plots import save_histogram

            save_histogram(report, report.protocol.metrics[0], path)
        else:
            from sepcli.evaluation.csv_report import csv_text, write_text

            write_text(path, csv_text(report) if option == "--csv" else _page(report, quiet), option)
        console.note(f"wrote {path}", quiet)


def _page(report: Report, quiet: bool) -> str:
    from sepcli.evaluation.html_report import html_page

    with console.progress("making the page", quiet):  # tracks to be listened to may be separated again
        return html_page(report)


def _print_tables(report: Report) -> None:
    from sepcli.evaluation.report import difference_table, table

    shown = [metric for metric in report.results if METRICS[metric].scope != "check"]
    for number, metric in enumerate(shown):
        if number:
            console.emit("")
        columns, rows = table(report.results, metric)
        unit = f"{METRICS[metric].unit}, " if METRICS[metric].unit else ""
        console.table(
            columns, rows, f"{unit}mean [95 % interval], median of the column before. {METRICS[metric].rule}."
        )
        if metric in report.differences:
            console.emit("")
            console.table(
                *difference_table(report.differences, metric),
                f"{unit}mean of the paired differences [95 % interval], share of the tracks in which the row "
                "is better.",
            )
