"""The one batch loop: plan, skip or resume, work, record, report, exit code; for audio and images alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sepcli.atomic import lock_of, locked, remove_leftovers
from sepcli.cli import console
from sepcli.cli.dry_run import describe
from sepcli.cli.options import BatchOptions
from sepcli.cli.outputs import Job, in_use, linked_folders
from sepcli.cli.planning import finished_since, left_to_do, note_skipped, plan_all
from sepcli.cli.resolve import Choice
from sepcli.cli.run_record import as_entries, assemble, replace_record
from sepcli.errors import PriorError, SepError, UsageError

if TYPE_CHECKING:
    from sepcli.cli.cost import Cost
    from sepcli.cli.inputs import Inputs
    from sepcli.cli.replay import Replay
    from sepcli.separation.separator import Separator


@dataclass(frozen=True)
class Outcome:
    """What came of one job, whose stems have been written.

    Attributes:
        details: the entries of the record that are the input's.
        lines: what is printed of it.
    """

    details: Mapping[str, Any]
    lines: Sequence[str]


@dataclass(frozen=True, eq=False)
class Work:
    """What a command does with the inputs of one medium.

    Attributes:
        choice: what separates.
        template: of the names of outputs.
        options: of the command.
        command: its name.
        run: does a job and writes its outputs but the record; the text is the title of a progress bar.
        extension: input, which is opened for a first check → extension of its stems.
        kept: options that records keep in ``options``.
        made_with: other entries of all records, besides those of the separator.
        varying: entries of the separator that depend on the input.
        smaller: the hint for an input that needs too much memory.
        libraries: distributions whose versions are recorded, beside the common ones and those of the choice.
        estimate: estimates the cost of inputs; None: of images, whose cost is not.
    """

    choice: Choice
    template: str
    options: BatchOptions
    command: str
    run: Callable[[Work, Job, str], Outcome]
    extension: Callable[[Path], str] = lambda source: "png"
    kept: Mapping[str, Any] = field(default_factory=dict)
    made_with: Mapping[str, Any] = field(default_factory=dict)
    varying: Sequence[str] = ()
    smaller: str = "make the image smaller"
    libraries: Sequence[str] = ("pillow",)
    estimate: Callable[[Separator, Sequence[Path]], Cost] | None = None

    @cached_property
    def separator(self) -> Separator:
        """What separates, which keeps the samples of recordings if several are written."""
        loaded = self.choice.load(self.options.device)
        if self.options.samples == 1 or self.choice.medium == "image":
            return loaded
        return loaded.configured(replace(loaded.stream, samples=self.options.samples, keep_samples=True))

    def prepare(self) -> dict[str, Any]:
        """Load the separator; return what the records of all inputs say alike."""
        described = self.separator.describe()
        return {
            "command": self.command,
            "medium": self.choice.medium,
            "sources": list(self.separator.names),
            **{key: value for key, value in described.items() if key not in self.varying},
            "seed": self.options.seed,
            "options": {"filename": self.template, **self.kept},
            **self.made_with,
        }


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
    jobs = plan_all(batch)
    for folder in {path.parent for job in jobs for path in job.files if not options.dry_run}:
        remove_leftovers(folder)
    made_with: dict[Work, Mapping[str, Any]] = {}
    todo = left_to_do(batch, jobs, made_with)
    done = [job for job in jobs if job not in todo and job.source not in batch.failed]
    for folder, target in linked_folders(todo, options.out).items():
        console.note(f"{folder} is a link: its outputs go to {target}", options.quiet)
    if options.dry_run:
        planned = {job: jobs[job] for job in jobs if job in todo or job in done}
        entries = describe(planned, todo, options.as_json, options.quiet)
        return finish("dry_run", entries, batch.failed, options.as_json, batch.total)
    note_skipped(done, batch)
    records = [_entry(job, {"skipped": True}) for job in done]
    for number, job in enumerate(todo, 1):
        title = job.track if len(todo) == 1 else f"{job.track} ({number}/{len(todo)})"
        try:
            records.append(_entry(job, _do(job, jobs[job], title, batch, made_with[jobs[job]])))
        except SepError as error:
            batch.refuse(job.source, error, UsageError, PriorError)  # the other inputs would fail alike
    counts = "" if options.quiet or batch.total == max(1, len(done)) else _counts(records, len(batch.failed))
    finish("results", records, batch.failed, options.as_json, batch.total, counts)


def _do(job: Job, work: Work, title: str, batch: Batch, made_with: Mapping[str, Any]) -> Mapping[str, Any]:
    """Do a job, print what came of it, and return its record; that of a job which is finished says so.

    Raises:
        OutputError: another run does it, or has written its files.
        SepError: it failed.
    """
    options, choice = batch.options, work.choice
    with locked(lock_of(job.record), in_use(job)):
        if finished_since(job, batch, made_with):
            return {"skipped": True}
        with enough_memory(job.source, work.smaller):
            outcome = work.run(work, job, title)
        libraries = (*work.libraries, *choice.libraries)
        record = assemble(job, made_with, outcome.details, choice.references, libraries)
        replace_record(job, record, options.quiet)
    verdict = {} if batch.replay is None else batch.replay.compare(job, record)
    if not (options.as_json or options.quiet):
        for line in outcome.lines:
            console.emit(line)
    return as_entries(record) | verdict


def _counts(records: Sequence[Mapping[str, Any]], failed: int) -> str:
    """Return the line on all inputs, as in ``2 done, 1 failed, 3 skipped``."""
    skipped = sum(1 for record in records if record.get("skipped"))
    counts = {"done": len(records) - skipped, "failed": failed, "skipped": skipped}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "done")


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
