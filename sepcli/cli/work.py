"""What a command does with one input, in this process or in a worker: separate, write, record."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.atomic import lock_of, locked, remove_leftovers
from sepcli.cli.options import BatchOptions
from sepcli.cli.outputs import Job, in_use
from sepcli.cli.resolve import Choice
from sepcli.errors import OutputError, SepError
from sepcli.separation.executor import OnPart

if TYPE_CHECKING:
    from sepcli.cli.cost import Cost
    from sepcli.cli.records import RunRecord
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
    """What a command does with the inputs of one medium; it is sent to workers.

    Attributes:
        choice: what separates.
        template: of the names of outputs.
        options: of the command.
        command: its name.
        run: does a job with what is loaded, and writes its outputs but the record.
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
    run: Callable[[Loaded, Job, OnPart], Outcome]
    extension: Callable[[Path], str]
    kept: Mapping[str, Any] = field(default_factory=dict)
    made_with: Mapping[str, Any] = field(default_factory=dict)
    varying: Sequence[str] = ()
    smaller: str = "make the image smaller"
    libraries: Sequence[str] = ("pillow",)
    estimate: Callable[[Separator, Sequence[Path]], Cost] | None = None

    def load(self, device: str) -> Loaded:
        """Load the separator, which keeps the samples of recordings if several are written.

        Raises:
            SepError: it cannot be loaded.
        """
        separator, options = self.choice.load(device), self.options
        if options.samples > 1 and self.choice.medium == "audio":
            stream = replace(separator.stream, samples=options.samples, keep_samples=True)
            separator = separator.configured(stream)
        described = separator.describe()
        made_with = {
            "command": self.command,
            "medium": self.choice.medium,
            "sources": list(separator.names),
            **{key: value for key, value in described.items() if key not in self.varying},
            "seed": options.seed,
            "options": {"filename": self.template, **self.kept},
            **self.made_with,
        }
        return Loaded(self, separator, made_with)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A work with what separates on one device, and the entries that the records of all inputs share."""

    work: Work
    separator: Separator
    made_with: Mapping[str, Any]


@dataclass(frozen=True)
class Finished:
    """A job that has been worked on.

    Attributes:
        record: as it was written; None: it failed, or another run had finished it.
        lines: what is printed of it.
        messages: what a worker printed to its stderr.
        error: why it failed in a worker.
    """

    record: RunRecord | None = None
    lines: Sequence[str] = ()
    messages: str = ""
    error: SepError | None = None


def fixed(extension: str, source: Path) -> str:
    """Return the extension of outputs that is the same for all inputs."""
    return extension


def load_all(works: Sequence[Work], device: str) -> list[Loaded]:
    """Load what a worker needs.

    Raises:
        SepError: it cannot be loaded.
    """
    return [work.load(device) for work in works]


def do_job(loaded: Sequence[Loaded], item: tuple[int, Job], on_part: OnPart) -> Finished:
    """Do a job with one of the works, unless another run has finished it since the start.

    Raises:
        OutputError: another run does it, or has written its files.
        SepError: it failed.
    """
    from sepcli.cli.planning import finished_since
    from sepcli.cli.record_pages import write_page
    from sepcli.cli.run_record import assemble, replace_record

    number, job = item
    chosen = loaded[number]
    work, choice = chosen.work, chosen.work.choice
    with locked(lock_of(job.record), in_use(job)):
        if finished_since(job, work.options, chosen.made_with):
            return Finished()
        with enough_memory(job.source, work.smaller):
            outcome = work.run(chosen, job, on_part)
        libraries = (*work.libraries, *choice.libraries)
        record = assemble(job, chosen.made_with, outcome.details, choice.references, libraries)
        replace_record(job, record, work.options.quiet)
        if job.page is not None:
            write_page(job.record, job.page, overwrite=True)
    return Finished(record, outcome.lines)


def do_elsewhere(loaded: Sequence[Loaded], item: tuple[int, Job], on_part: OnPart) -> Finished:
    """Do a job in a worker, whose messages go to the process that prints them."""
    with redirect_stderr(_Messages()) as messages:
        try:
            done = do_job(loaded, item, on_part)
        except SepError as error:
            done = Finished(error=error)
    return replace(done, messages=messages.getvalue())


class _Messages(io.StringIO):
    """A text that looks like a terminal if stderr is one, so that messages have the same colors."""

    def __init__(self) -> None:
        super().__init__()
        self._terminal = sys.stderr.isatty()

    def isatty(self) -> bool:
        return self._terminal


def estimate_all(
    loaded: Sequence[Loaded], item: tuple[int, Sequence[Path]], on_part: OnPart
) -> tuple[str, Cost | None]:
    """Return the device of a work, and the cost of inputs, of audio."""
    number, sources = item
    work, separator = loaded[number].work, loaded[number].separator
    cost = work.estimate(separator, sources) if work.estimate is not None and sources else None
    return str(separator.engine.device), cost


def clear(job: Job) -> None:
    """Remove what a killed worker left of a job that had no files before."""
    with suppress(OutputError), locked(lock_of(job.record), in_use(job)):
        for path in job.files:
            path.unlink(missing_ok=True)
    for folder in {path.parent for path in job.files}:
        remove_leftovers(folder)
        with suppress(OSError):
            folder.rmdir()  # unless something else is in it


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
