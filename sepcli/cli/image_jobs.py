"""A batch of images: what is to be done, where it goes, and one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.image_samples import BESIDE
from sepcli.cli.run_record import enough_memory, finish
from sepcli.errors import PriorError, SepError, UsageError

if TYPE_CHECKING:
    from sepcli.cli.inputs import Job


def plan_images(
    words: Sequence[str], out: Path, template: str, names: Sequence[str], samples: int, prior: str
) -> list[Job]:
    """Where everything goes, checked against itself.

    Args:
        words: files, folders and globs.
        out: folder.
        template: of the names of the files.
        names: of what is made of every image.
        samples: how many draws; of several, there is also what ``BESIDE`` names.
        prior: what stands for ``{prior}``.

    Raises:
        UsageError: the template is none, or of files other than PNG.
        InputError: there are no images.
        OutputError: a file would be written twice or over an input, or out of the folder.
    """
    from sepcli.cli import inputs

    inputs.check_template(template, samples, len(names))
    if Path(template).suffix.lower() in set(inputs.IMAGES) - {".png"}:
        raise UsageError(f"--filename {template}: images are stored as PNG", "end it with .{ext}")
    beside = BESIDE if samples > 1 else ()
    jobs = []
    for file in inputs.collect(words, inputs.IMAGES):
        job = inputs.plan(file, out, template, names, samples, "png", prior, beside)
        jobs.append(replace(job, sheet=sheet_beside(job.record)))
    inputs.refuse_collisions(jobs)
    return jobs


def run_images(
    jobs: Sequence[Job],
    todo: Sequence[Job],
    work: Callable[[Job], dict[str, Any]],
    told: Callable[[Job], str],
    as_json: bool,
) -> None:
    """Do what is left of a batch, and report.

    Args:
        jobs: all of the batch.
        todo: those that are left; the others are reported as skipped.
        work: a job → its record.
        told: what to print of a job that is done.
        as_json: print one JSON document in its place.

    Raises:
        SepError: the only image failed, or all others would fail alike.
        typer.Exit: some images failed.
    """
    records: list[dict[str, Any]] = [{"input": str(j.source), "skipped": True} for j in jobs if j not in todo]
    failed: dict[Path, SepError] = {}
    for job in todo:
        try:
            with enough_memory(job.source, "make the image smaller"):
                records.append(work(job))
            if not as_json:
                console.emit(told(job))
        except SepError as error:
            if len(jobs) == 1 or isinstance(error, UsageError | PriorError):
                raise
            failed[job.source] = error
    finish("images", records, failed, as_json, len(jobs))


def sheet_beside(record: Path) -> Path:
    """Where the contact sheet beside a record goes."""
    return record.with_name(record.name.removesuffix("run.json") + "contact.png")
