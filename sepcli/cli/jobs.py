"""The one batch loop: plan, skip or resume, work, record, report, exit code; for audio and images alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import typer

from sepcli.cli import console
from sepcli.cli.outputs import Job, refuse_collisions, to_do
from sepcli.cli.resume import refuse_unlike
from sepcli.cli.run_record import assemble, replace_record
from sepcli.errors import OutputError, PriorError, SepError, UsageError


@dataclass(frozen=True)
class Options:
    """What a batch does about files that exist, and how it reports.

    Attributes:
        overwrite: replace files that exist.
        resume: skip inputs that are finished.
        as_json: print one JSON document instead of lines.
        quiet: no progress and no notes.
    """

    overwrite: bool = False
    resume: bool = False
    as_json: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of one job, whose stems have been written.

    Attributes:
        details: the entries of the record that are the input's.
        lines: what is printed of it.
    """

    details: Mapping[str, Any]
    lines: Sequence[str]


class Work(Protocol):
    """What a command does with inputs of one medium."""

    @property
    def libraries(self) -> Sequence[str]:
        """Distributions whose versions are recorded."""
        ...

    @property
    def smaller(self) -> str:
        """The hint for an input that needs too much memory."""
        ...

    def plan(self, source: Path) -> Job:
        """Name the outputs of an input, which is opened for a first check."""
        ...

    def prepare(self) -> Mapping[str, Any]:
        """Load what is needed; return what the records of all inputs say alike."""
        ...

    def run(self, job: Job, title: str) -> Outcome:
        """Do a job and write its outputs but the record; ``title`` is for a progress bar."""
        ...


@dataclass
class Batch:
    """Inputs, the work for each, and those that have failed.

    Attributes:
        inputs: input → its work.
        failed: input → why it failed.
    """

    inputs: Mapping[Path, Work]
    failed: dict[Path, SepError] = field(default_factory=dict)

    @property
    def single(self) -> bool:
        """Whether there is one input only, whose error is the command's."""
        return len(self.inputs.keys() | self.failed.keys()) == 1


def run_batch(batch: Batch, options: Options) -> None:
    """Do all jobs of a batch, and report.

    Args:
        batch: the inputs.
        options: see there.

    Raises:
        SepError: the only input failed, or all others would fail alike.
        typer.Exit: some inputs failed.
    """
    jobs = _plan(batch, options)
    todo = to_do([*jobs], overwrite=options.overwrite, resume=options.resume)
    made_with: dict[Work, Mapping[str, Any]] = {}
    left: set[Job] = set()
    for work in dict.fromkeys(jobs.values()):
        with console.progress("loading", options.quiet):
            made_with[work] = work.prepare()
        group = [job for job, worker in jobs.items() if worker is work]
        unfinished = [job for job in group if job in todo]
        left |= {*refuse_unlike(group, unfinished, made_with[work], options.overwrite)}
    todo = [job for job in jobs if job in left]
    records = [_entry(job, {"skipped": True}) for job in jobs if job not in todo]
    for number, job in enumerate(todo, 1):
        title = job.track if len(todo) == 1 else f"{job.track} ({number}/{len(todo)})"
        work = jobs[job]
        try:
            with enough_memory(job.source, work.smaller):
                outcome = work.run(job, title)
            record = assemble(job, made_with[work], outcome.details, work.libraries)
            replace_record(job, record, options.quiet)
        except SepError as error:
            if _is_final(batch, options) or isinstance(error, UsageError | PriorError):
                raise  # the other inputs would fail alike
            batch.failed[job.source] = error
            continue
        records.append(_entry(job, record))
        if not options.as_json:
            for line in outcome.lines:
                console.emit(line)
    finish("results", records, batch.failed, options.as_json, len(batch.inputs.keys() | batch.failed.keys()))


def _is_final(batch: Batch, options: Options) -> bool:
    """Return whether the error of an input is the command's: of the only one, where no document tells it."""
    return batch.single and not options.as_json


def _plan(batch: Batch, options: Options) -> dict[Job, Work]:
    """Name all outputs; inputs that cannot be read fail now, before anything is computed."""
    jobs: dict[Job, Work] = {}
    for source, work in batch.inputs.items():
        try:
            jobs[work.plan(source)] = work
        except SepError as error:
            if _is_final(batch, options) or isinstance(error, OutputError | UsageError):
                raise
            batch.failed[source] = error
    refuse_collisions([*jobs])
    return jobs


def _entry(job: Job, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the JSON document says of a job: its record, and where that and the input are."""
    return {**record, "input": str(job.source), "record": str(job.record)}


@contextmanager
def enough_memory(source: Path, hint: str) -> Iterator[None]:
    """Name the file that needs too much memory; PyTorch raises a bare RuntimeError.

    Raises:
        SepError: the memory did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise SepError(f"there is not enough memory for {source}", hint) from error


def finish(
    kind: str,
    records: Sequence[Mapping[str, Any]],
    failed: Mapping[Path, SepError] | Mapping[str, SepError],
    as_json: bool,
    total: int,
) -> None:
    """Print what was done (as JSON, under the key ``kind``) and what failed.

    Raises:
        typer.Exit: 3 if some of the ``total`` inputs failed; if all did, the greatest code of their errors.
    """
    if as_json:
        errors = [{"input": str(path), "error": e.message, "hint": e.hint} for path, e in failed.items()]
        console.emit_json({kind: list(records), "failed": errors})
    for path, error in failed.items():
        named = str(path) in error.message
        console.error(error.message if named else f"{path}: {error.message}", error.hint)
    if failed:
        raise typer.Exit(max(e.exit_code for e in failed.values()) if len(failed) == total else 3)
