"""``sepcli evaluate``: compare finished estimates, or separate test mixtures and compare the results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sepcli.cli import console
from sepcli.cli.calibrate import calibrate_prior
from sepcli.cli.evaluate_kinds import CALIBRATION, FINISHED, Request, request_of
from sepcli.cli.evaluate_options import EvaluateOptions
from sepcli.cli.evaluate_tasks import in_workers, make_task, open_songs
from sepcli.cli.fetch import fetch_if_new
from sepcli.cli.options import takes
from sepcli.cli.outputs import alone
from sepcli.cli.reports import check_targets, document_of, drop, resumable, show, write_files
from sepcli.cli.run_record import write_record
from sepcli.cli.runner import run_program
from sepcli.cli.tables import check_style
from sepcli.cli.workers import open_executor
from sepcli.errors import UsageError
from sepcli.separation.executor import Executor, Serial

if TYPE_CHECKING:
    from sepcli.datasets.songs import Songs
    from sepcli.evaluation.task import Task


@takes(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> None:
    """Measure separations, beside the average and an oracle mask.

    With ESTIMATES and REFERENCES, files are matched by name and compared.
    With --dataset and --data DIR, test items are mixed, separated and compared.
    With --metric cross-likelihood, every source's test items are scored under every prior.
    With --calibration, samples of a prior's posterior are tested against the truth.
    With nothing at all, the small set that comes with sepcli is separated.
    """
    request, out, quiet = request_of(options), options.out, options.quiet
    check_style(options.table, options.as_json)
    if request.kind == CALIBRATION:
        console.load("torch", quiet)
        fetch_if_new(request.priors, quiet)
        calibrate_prior(request)
        return
    targets = {"--out": out, "--plot": options.plot, "--csv": options.csv, "--html": options.html}
    journal = None if out is None else out.parent / f"{out.name}.partial"
    check_targets(targets, options.overwrite, journal)
    if request.kind != FINISHED:
        console.load("torch", quiet)
    work, make, executor = _work(request)
    from sepcli.evaluation.run import NothingScored, run

    try:
        lock = alone(out, "choose another --out")
        with lock, resumable(journal, quiet), console.progress("evaluating", quiet) as on_progress:
            report = run(
                work,
                request.metrics,
                seed=options.seed,
                batch=options.batch,
                journal=journal,
                replace_journal=options.overwrite,
                executor=executor,
                make=make,
                on_progress=on_progress,
            )
    except NothingScored as error:
        if not options.as_json:
            raise
        failed = [{"track": failure.track, "reason": failure.reason} for failure in error.failures]
        console.emit_json({"results": {}, "failed": failed})
        console.error(error.message, error.hint)
        raise typer.Exit(error.exit_code) from error
    document = document_of(report)
    if out is not None:
        write_record(out, document)
        console.note(f"wrote {out}", quiet)
    write_files(report, targets, quiet, options.previews)
    drop(journal)
    show(report, document, options.as_json, options.table, quiet)
    if report.failures:
        raise typer.Exit(3)


def _work(request: Request) -> tuple[Task[Any], Callable[[str], Task[Any]] | None, Executor]:
    """Return the task, what makes it in another process unless it is copied there, and the executor."""
    options = request.options
    device = "cpu" if options.device == "auto" and not request.has_networks else options.device
    executor = open_executor(device, options.jobs, options.executor, options.quiet)
    if request.kind == FINISHED:
        return _finished(request), None, executor
    fetch_if_new(request.priors, options.quiet)
    if isinstance(executor, Serial):
        return make_task(request, executor.device), None, executor
    return *in_workers(request, executor.devices[0]), executor


def _finished(request: Request) -> Task[Any]:
    """Return the comparison of finished estimates, which another program may make first.

    Raises:
        UsageError: there are not one folder of estimates and one of references, or a data set.
    """
    options = request.options
    given = [*([options.estimates] if options.estimates is not None else []), *(options.folders or ())]
    references: list[tuple[Path | Songs, str | None]] = [(folder, None) for folder in given[1:]]
    notes: tuple[str, ...] = ()
    if request.data:
        songs = open_songs(request)
        references.append((songs.songs, songs.title))
        notes = songs.notes
    if len(references) != 1 or not given:
        raise UsageError(
            "ESTIMATES and REFERENCES go together",
            "give two folders; or --estimates DIR and one; or --estimates DIR and --dataset with --data",
        )
    estimates, (reference, title) = given[0], references[0]
    if options.runner is not None:
        run_program(options.runner, reference, estimates, options.device, options.quiet)
    from sepcli.evaluation.tasks.folders import open_folders

    task = open_folders(
        estimates,
        reference,
        request.metrics,
        title=title,
        any_order=options.any_order,
        notes=notes,
        limit=options.pairs,
    )
    for warning in task.pairing.warnings:
        console.warn(warning)
    return task
