"""The one batch loop: plan, skip or resume, work, record, report, exit code; for audio and images alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from sepcli.atomic import remove_leftovers
from sepcli.cli import console
from sepcli.cli.dry_run import describe
from sepcli.cli.options import BatchOptions
from sepcli.cli.outputs import Job, linked_folders
from sepcli.cli.planning import left_to_do, note_skipped, plan_all
from sepcli.cli.run_record import as_entries
from sepcli.cli.threads import processors
from sepcli.cli.work import Finished, Loaded, Work, clear, do_elsewhere, do_job, estimate_all, load_all
from sepcli.cli.workers import open_executor
from sepcli.errors import PriorError, SepError, UsageError
from sepcli.separation.executor import Executor, Serial, in_order

if TYPE_CHECKING:
    from sepcli.cli.cost import Cost
    from sepcli.cli.inputs import Inputs
    from sepcli.cli.replay import Replay

Result = TypeVar("Result")
Setup = Callable[[str], Sequence[Loaded]]
"""Device → what a worker has loaded."""


@dataclass
class Batch:
    """Inputs, the work for each, and those that have failed.

    Attributes:
        inputs: input → its work.
        options: of the command.
        folders: input → ``{folder}`` in the names of its outputs.
        failed: input → why it failed.
        replay: the run that is repeated, if it is one.
    """

    inputs: Mapping[Path, Work]
    options: BatchOptions
    folders: Mapping[Path, str] = field(default_factory=dict)
    failed: dict[Path, SepError] = field(default_factory=dict)
    replay: Replay | None = None

    @classmethod
    def of(
        cls,
        inputs: Inputs,
        work: Work | Mapping[Path, Work],
        options: BatchOptions,
        replay: Replay | None = None,
    ) -> Batch:
        """Return a batch of what a command line names, and the work for all of them or for each.

        Raises:
            SepError: the only argument gives no file.
        """
        each = dict.fromkeys(inputs.folders, work) if isinstance(work, Work) else work
        if not each and len(inputs.failed) == 1 and not options.as_json:
            raise next(iter(inputs.failed.values()))
        return cls(each, options, inputs.keep_apart(), inputs.failed, replay)

    @property
    def total(self) -> int:
        """Number of inputs."""
        return len(self.inputs.keys() | self.failed.keys())

    def refuse(self, source: Path, error: SepError, *kinds: type[SepError]) -> None:
        """Note that an input failed.

        Raises:
            SepError: the error is of a kind that stops the command, or the only input's, and no document
                tells it.
        """
        if isinstance(error, kinds) or (self.total == 1 and not self.options.as_json):
            raise error
        self.failed[source] = error


def run_batch(batch: Batch) -> None:
    """Do all jobs of a batch, and report.

    Raises:
        SepError: the only input failed, or all others would fail alike.
        typer.Exit: some inputs failed.
    """
    options = batch.options
    executor = _executor(batch)
    jobs = plan_all(batch)
    for folder in {path.parent for job in jobs for path in job.files if not options.dry_run}:
        remove_leftovers(folder)
    loaded: dict[Work, Loaded] = {}
    todo = left_to_do(batch, jobs, loaded, executor)
    done = [job for job in jobs if job not in todo and job.source not in batch.failed]
    for note in (note for work in dict.fromkeys(jobs[job] for job in todo) for note in work.choice.notes):
        console.note(note, options.quiet)
    for folder, target in linked_folders(todo, options.out).items():
        console.note(f"{folder} is a link: its outputs go to {target}", options.quiet)
    if options.dry_run:
        planned = {job: jobs[job] for job in jobs if job in todo or job in done}
        costs = _estimate(planned, todo, loaded, executor, options.quiet)
        entries = describe(planned, todo, costs, len(executor.devices), options.as_json or options.quiet)
        return finish("dry_run", entries, batch.failed, options.as_json, batch.total)
    note_skipped(done, batch)
    _write_pages(done)
    records = [_entry(job, {"skipped": True}) for job in done]
    records += _work_through(batch, {job: jobs[job] for job in todo}, loaded, executor)
    counts = "" if options.quiet or batch.total == max(1, len(done)) else _counts(records, len(batch.failed))
    finish("results", records, batch.failed, options.as_json, batch.total, counts)


def _write_pages(done: Sequence[Job]) -> None:
    """Write the pages that finished jobs lack."""
    for job in done:
        if job.page is not None and not job.page.exists():
            from sepcli.cli.record_pages import write_page  # takes a template engine

            write_page(job.record, job.page)


def _executor(batch: Batch) -> Executor:
    """Return who works on a batch; a run is repeated with the threads that it had, if there are so many."""
    options = batch.options
    on_cpu = options.device == "auto" and all(work.choice.on_cpu for work in batch.inputs.values())
    executor = open_executor(
        "cpu" if on_cpu else options.device, options.jobs, options.executor, options.quiet
    )
    threads = batch.replay.record.threads if batch.replay is not None else None
    if isinstance(executor, Serial) and threads is not None and threads <= processors():
        return replace(executor, threads=threads)
    return executor


def _setup(works: Sequence[Work], loaded: Mapping[Work, Loaded], executor: Executor) -> Setup:
    """Return what gives a worker its works; this process has loaded them already."""
    if isinstance(executor, Serial):
        return lambda device: [loaded[work] for work in works]
    return partial(load_all, works)


def _estimate(
    jobs: Mapping[Job, Work],
    todo: Sequence[Job],
    loaded: Mapping[Work, Loaded],
    executor: Executor,
    quiet: bool,
) -> dict[Work, tuple[str, Cost | None]]:
    """Return the device of every work and, of audio, the cost of its inputs."""
    works = [*dict.fromkeys(jobs.values())]
    items = [(k, [job.source for job in todo if jobs[job] is work]) for k, work in enumerate(works)]
    with console.progress("estimating", quiet):
        results = in_order(executor.map(_setup(works, loaded, executor), estimate_all, items))
        return {work: _checked(result) for work, result in zip(works, results, strict=True)}


def _checked(result: Result | SepError) -> Result:
    if isinstance(result, SepError):
        raise result
    return result


def _work_through(
    batch: Batch, jobs: Mapping[Job, Work], loaded: Mapping[Work, Loaded], executor: Executor
) -> Iterator[dict[str, Any]]:
    """Do jobs, print what came of each in their order, and yield their entries of the document."""
    if not jobs:
        return
    options, works = batch.options, [*dict.fromkeys(jobs.values())]
    do = do_job if isinstance(executor, Serial) else do_elsewhere
    items = [(works.index(work), job) for job, work in jobs.items()]
    only = next(iter(jobs)).track
    with console.progress(only if len(jobs) == 1 else f"{len(jobs)} inputs", options.quiet) as bar:
        results = executor.map(
            _setup(works, loaded, executor), do, items, bar, None if options.overwrite else _clear
        )
        for job, result in zip(jobs, in_order(results), strict=True):
            with bar.paused():
                try:
                    yield _entry(job, _report(job, result, batch))
                except SepError as error:
                    batch.refuse(job.source, error, UsageError, PriorError)  # the others would fail alike


def _report(job: Job, result: Finished | SepError, batch: Batch) -> Mapping[str, Any]:
    """Print what came of a job, and return its record; that of a job which is finished says so.

    Raises:
        SepError: it failed.
    """
    if isinstance(result, SepError):
        raise result
    console.pass_on(result.messages)
    if result.error is not None:
        raise result.error
    if result.record is None:
        return {"skipped": True}
    if not (batch.options.as_json or batch.options.quiet):
        for line in result.lines:
            console.emit(line)
    verdict = {} if batch.replay is None else batch.replay.compare(job, result.record)
    return as_entries(result.record) | verdict


def _clear(item: tuple[int, Job]) -> None:
    clear(item[1])


def _counts(records: Sequence[Mapping[str, Any]], failed: int) -> str:
    """Return the line on all inputs, as in ``2 done, 1 failed, 3 skipped``."""
    skipped = sum(1 for record in records if record.get("skipped"))
    counts = {"done": len(records) - skipped, "failed": failed, "skipped": skipped}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "done")


def _entry(job: Job, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the JSON document says of a job: its record, and where that and the input are."""
    return {**record, "input": str(job.source), "record": str(job.record)}


def finish(
    kind: str,
    records: Sequence[Mapping[str, Any]],
    failed: Mapping[Path, SepError] | Mapping[str, SepError],
    as_json: bool,
    total: int,
    last: str = "",
) -> None:
    """Print what was done (as JSON, under the key ``kind``), what failed, and a last note.

    Raises:
        typer.Exit: 3 if some of the ``total`` inputs failed; if all did, the greatest code of their errors.
    """
    if as_json:
        errors = [{"input": str(path), "error": e.message, "hint": e.hint} for path, e in failed.items()]
        console.emit_json({kind: list(records), "failed": errors})
    for path, error in failed.items():
        named = str(path) in error.message
        console.error(error.message if named else f"{path}: {error.message}", error.hint)
    console.note(last, quiet=not last)
    if failed:
        raise typer.Exit(max(e.exit_code for e in failed.values()) if len(failed) == total else 3)
