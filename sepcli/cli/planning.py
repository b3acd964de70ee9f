"""Before a batch computes: names of all outputs, what is finished, and what cannot be written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.outputs import Job, collisions, existing, is_complete, plan, unwritable
from sepcli.cli.records import find_record
from sepcli.cli.run_record import unlike
from sepcli.errors import OutputError, SepError, UsageError

if TYPE_CHECKING:
    from sepcli.cli.jobs import Batch, Work

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


def left_to_do(batch: Batch, jobs: Mapping[Job, Work], made_with: dict[Work, Mapping[str, Any]]) -> list[Job]:
    """Return the jobs that are left; those that cannot write or would replace files fail, unless they may.

    Works that have such a job are prepared, and ``made_with`` is filled with their entries of records. A
    given sampler or setting is checked first.
    """
    options = batch.options
    if options.settings or options.sampler:
        _prepare(batch, jobs.values(), made_with)
    todo = []
    for job in jobs:
        if options.resume and is_complete(job):
            continue
        error = _replacing(job, batch) or unwritable(job)
        if error is None:
            todo.append(job)
        else:
            batch.refuse(job.source, error)
    finished = [job for job in jobs if job not in todo and job.source not in batch.failed]
    _prepare(batch, [jobs[job] for job in (*todo, *finished)], made_with)
    for job in finished:
        error = unlike(job, made_with[jobs[job]])
        if error is not None and options.overwrite:
            todo.append(job)
        elif error is not None:
            batch.refuse(job.source, error)
    return [job for job in jobs if job in todo]


def finished_since(job: Job, batch: Batch, made_with: Mapping[str, Any]) -> bool:
    """Return whether another run has finished a job since the start of this one, which skips it.

    Raises:
        OutputError: it has written files of the job, which this run may not replace.
    """
    if batch.options.overwrite:
        return False
    complete = batch.options.resume and is_complete(job)
    error = unlike(job, made_with) if complete else _replacing(job, batch)
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


def _prepare(batch: Batch, works: Iterable[Work], made_with: dict[Work, Mapping[str, Any]]) -> None:
    """Load what separates, once per work, and compare it with that of a run that is repeated."""
    for work in dict.fromkeys(works):
        if work in made_with:
            continue
        for note in work.choice.notes:
            console.note(note, batch.options.quiet)
        with console.progress("loading", batch.options.quiet):
            made_with[work] = work.prepare()
        if batch.replay is not None:
            batch.replay.check(made_with[work])


def _replacing(job: Job, batch: Batch) -> OutputError | None:
    """Return why a job would replace files, unless it may."""
    options = batch.options
    if options.overwrite:
        return None
    return existing(job, resume=options.resume, replayed=batch.replay is not None)
