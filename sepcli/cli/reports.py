"""Output of an evaluation: tables on stdout, a document, a plot, a page; and its journal."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.atomic import write_text
from sepcli.cli import console, tables
from sepcli.cli.tables import TableStyle
from sepcli.errors import OutputError, UsageError
from sepcli.metrics import METRICS

if TYPE_CHECKING:
    from sepcli.evaluation.cross_likelihood import CrossLikelihood
    from sepcli.evaluation.report import Report

PLOTS = (".png", ".pdf", ".svg")
"""How the name of a plot may end."""


@contextmanager
def resumable(journal: Path | None, quiet: bool) -> Iterator[None]:
    """Say on Ctrl-C that finished items are kept."""
    try:
        yield
    except KeyboardInterrupt:
        if journal is not None:
            console.note(f"finished items are in {journal}; the same command continues", quiet)
        raise


def drop(journal: Path | None) -> None:
    """Remove the journal and the images of a finished run."""
    if journal is not None:
        journal.unlink(missing_ok=True)
        journal.with_name(f"{journal.name}.images").unlink(missing_ok=True)


def document_of(report: Report) -> dict[str, Any]:
    """Return a report as its JSON document; of cross-likelihood in the form of ``CrossLikelihood``."""
    table = _cross(report)
    return report.as_dict() if table is None else table.as_dict()


def check_targets(targets: Mapping[str, Path | None], overwrite: bool, journal: Path | None = None) -> None:
    """Refuse files that could not be written in the end, before hours of work.

    Args:
        targets: by option.
        overwrite: whether files may be replaced.
        journal: another file that the run writes, and removes in the end.

    Raises:
        UsageError: the suffix of the plot is not supported, or a file is given twice.
        OutputError: a file is there already, or its folder is not or may not be written.
    """
    given = {option: path for option, path in targets.items() if path is not None}
    plot = given.get("--plot")
    if plot is not None and plot.suffix.lower() not in PLOTS:
        raise UsageError(f"--plot {plot} is not the name of a plot", f"let it end in {', '.join(PLOTS)}")
    paths = {path.absolute() for path in given.values()}
    if journal is not None and journal.absolute() in paths:
        raise UsageError(f"{journal} is where the run keeps what is finished", "choose another name")
    if len(paths) < len(given):
        raise UsageError(f"{', '.join(given)} name the same file twice", "give different names")
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


def show(report: Report, document: Mapping[str, Any], as_json: bool, style: TableStyle, quiet: bool) -> None:
    """Print a report, as its document or as tables, and what there is to say of it."""
    if as_json:
        console.emit_json(document)
    elif (table := _cross(report)) is not None:
        _print_cross(table, style)
    else:
        _print_tables(report, style)
        _note_checks(report, quiet)
    for failure in report.failures:
        console.warn(f"{failure.track} is not scored: {failure.reason}")
    for text in report.notes:
        console.note(f"note: {text}", quiet)


def write_files(
    report: Report, targets: Mapping[str, Path | None], quiet: bool, previews: int | None = None
) -> None:
    """Write the plot of the first metric, the scores as CSV and the page, as far as their options are given.

    ``previews`` is the number of tracks with previews in the page; None: its default.

    Raises:
        OutputError: a file cannot be written.
    """
    for option, path in targets.items():
        if path is None or option not in ("--plot", "--csv", "--html"):
            continue
        if option == "--plot":
            _plot(report, path)
        else:
            from sepcli.evaluation.report import csv_text

            text = csv_text(report) if option == "--csv" else _page(report, quiet, previews)
            write_text(path, text, "choose another file")
        console.note(f"wrote {path}", quiet)


def _plot(report: Report, path: Path) -> None:
    from sepcli.evaluation.plots import heat_map, histogram, save_figure

    table = _cross(report)
    figure = histogram(report, report.protocol.metrics[0]) if table is None else heat_map(table)
    save_figure(figure, path)


def _page(report: Report, quiet: bool, previews: int | None) -> str:
    from sepcli.evaluation.html_report import html_page

    with console.progress("making the page", quiet) as bar:  # tracks may be separated again for it
        return html_page(report, previews, on_progress=bar)


def _print_tables(report: Report, style: TableStyle) -> None:
    from sepcli.evaluation.report import MEDIANS, caption, difference_table, median_table, table

    shown = [metric for metric in report.results if METRICS[metric].scope != "check"]
    for number, metric in enumerate(shown):
        if number:
            console.emit("")
        head, rows = table(report.results, metric)
        tables.show(head, rows, caption(metric, rows), style)
        if (medians := median_table(report.results, metric)) is not None:
            console.emit("")
            tables.show(*medians, MEDIANS, style)
        if metric in report.differences:
            console.emit("")
            head, rows = difference_table(report.differences, metric)
            tables.show(head, rows, caption(metric, rows, differences=True), style)


def _cross(report: Report) -> CrossLikelihood | None:
    """Return the table of priors against sources, if the report is one."""
    if METRICS[report.protocol.metrics[0]].scope != "prior":
        return None
    from sepcli.evaluation.cross_likelihood import cross_likelihood

    return cross_likelihood(report, report.protocol.settings)


def _print_cross(table: CrossLikelihood, style: TableStyle) -> None:
    means, how = zip(table.priors, table.means, strict=True), table.how
    rows = [[prior, *(f"{value:.3f}" for value in row)] for prior, row in means]
    caption = (
        f"nats per sample ({how['likelihood']}), mean of {table.values.shape[2]} items, under noise of "
        f"{how['noise']:.3g}; rows are priors, columns sources"
    )
    tables.show(["prior", *table.sources], rows, caption, style)
    if style is TableStyle.TEXT:
        console.emit(textwrap.fill(table.sentence(), tables.WIDTH))


def _note_checks(report: Report, quiet: bool) -> None:
    """Note what separating images took, how well results explain mixtures, and how much samples differ."""
    if "evaluations" not in report.cost:
        return
    seconds = [(key, value) for key, value in report.cost.items() if key.startswith("seconds_per_")]
    took = "".join(f", {value:.2f} s per {key.removeprefix('seconds_per_')}" for key, value in seconds)
    console.note(f"{report.cost['evaluations']:g} evaluations per source{took}", quiet)
    for metric, text in (
        ("nll", "{:.3f} bits per dimension under the prior"),
        ("residual", "the sources miss the mixture by {:.2g} steps of 8 bits (rms)"),
        ("diversity", "samples differ by {:.3g} steps of 8 bits (rms)"),
    ):
        for method, rows in report.results.get(metric, {}).items():
            for summary in rows.values():
                console.note(f"{method}: {text.format(summary.mean)}", quiet)
