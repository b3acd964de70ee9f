"""Before a batch computes: names of all outputs, what is finished, and what cannot be written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.options import BatchOptions
from sepcli.cli.outputs import Job, collisions, existing, is_complete, plan, unwritable
from sepcli.cli.records import find_record
from sepcli.cli.run_record import unlike
from sepcli.errors import OutputError, SepError, UsageError
from sepcli.separation.executor import Executor, Serial

if TYPE_CHECKING:
    from sepcli.cli.jobs import Batch
    from sepcli.cli.work import Loaded, Work

NAMED = 3
"""Inputs that a note names."""


def plan_all(batch: Batch) -> dict[Job, Work]:
    """Name all outputs; inputs that cannot be read, or clash, fail now, before anything is computed."""
    jobs: dict[Job, Work] = {}
    for source, work in batch.inputs.items():
        try:
            extension = work.extension(source)
            folder = batch.folders.get(source, "")
            jobs[plan(source, folder, extension, work.template, work.choice, batch.options)] = work
        except SepError as error:
            batch.refuse(source, error, OutputError, UsageError)
    for job, collision in collisions({job: work.template for job, work in jobs.items()}).items():
        batch.refuse(job.source, collision)
        del jobs[job]
    for job in [*jobs]:
        try:
            find_record(job.record)
        except SepError as error:  # a record that can be neither compared nor replaced
            batch.refuse(job.source, error)
            del jobs[job]
    return jobs


def left_to_do(
    batch: Batch, jobs: Mapping[Job, Work], loaded: dict[Work, Loaded], executor: Executor
) -> list[Job]:
    """Return the jobs that are left; those that cannot write or would replace files fail, unless they may.

    ``loaded`` is filled with the works that have such a job and are done here, or one that is finished. A
    given sampler or setting is checked first.
    """
    options = batch.options
    here = isinstance(executor, Serial)
    device = executor.devices[0] if here else "cpu"
    if options.settings or options.sampler:
        _load(batch, jobs.values(), loaded, device)
    todo = []
    for job in jobs:
        if options.resume and is_complete(job):
            continue
        error = _replacing(job, options, batch.replay is not None) or unwritable(job)
        if error is None:
            todo.append(job)
        else:
            batch.refuse(job.source, error)
    finished = [job for job in jobs if job not in todo and job.source not in batch.failed]
    _load(batch, [jobs[job] for job in (*(todo if here else ()), *finished)], loaded, device)
    for job in finished:
        error = unlike(job, loaded[jobs[job]].made_with)
        if error is not None and options.overwrite:
            todo.append(job)
        elif error is not None:
            batch.refuse(job.source, error)
    return [job for job in jobs if job in todo]


def finished_since(job: Job, options: BatchOptions, made_with: Mapping[str, Any]) -> bool:
    """Return whether another run has finished a job since the start of this one, which skips it.

    Raises:
        OutputError: it has written files of the job, which this run may not replace.
    """
    if options.overwrite:
        return False
    complete = options.resume and is_complete(job)
    error = unlike(job, made_with) if complete else _replacing(job, options)
    if error is not None:
        raise error
    return complete


def note_skipped(done: Sequence[Job], batch: Batch) -> None:
    """Name the inputs that ``--resume`` skips."""
    if not done:
        return
    if len(done) == batch.total:
        console.note(f"nothing to do: {len(done)} of {len(done)} inputs are finished", batch.options.quiet)
        return
    named = ", ".join(str(job.source) for job in done[:NAMED])
    others = f" and {len(done) - NAMED} others" if len(done) > NAMED else ""
    console.note(f"skipped, finished already: {named}{others}", batch.options.quiet)


def _load(batch: Batch, works: Iterable[Work], loaded: dict[Work, Loaded], device: str) -> None:
    """Load what separates, once per work, and compare it with that of a run that is repeated."""
    for work in dict.fromkeys(works):
        if work in loaded:
            continue
        with console.progress("loading", batch.options.quiet):
            loaded[work] = work.load(device)
        if batch.replay is not None:
            batch.replay.check(loaded[work].made_with)


def _replacing(job: Job, options: BatchOptions, replayed: bool = False) -> OutputError | None:
    """Return why a job would replace files, unless it may."""
    return None if options.overwrite else existing(job, resume=options.resume, replayed=replayed)
