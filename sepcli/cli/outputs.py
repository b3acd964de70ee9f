"""Where the outputs of every input go: the file-name template, collisions, and what exists already."""

from __future__ import annotations

import os
import string
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from sepcli.atomic import lock_of, locked
from sepcli.cli.options import BatchOptions
from sepcli.cli.resolve import Choice
from sepcli.errors import OutputError, UsageError
from sepcli.media import MEDIA
from sepcli.media.names import inside, safe_name

FIELDS = ("folder", "track", "stem", "ext", "sample", "prior")
"""The fields of a template."""
BESIDE = ("mean", "std")
"""What is stored beside several samples of an image, instead of their number."""


@dataclass(frozen=True)
class Job:
    """One input and its outputs.

    Attributes:
        source: the file.
        track: its name, safe as one path component.
        folder: ``{folder}`` in the names of its outputs.
        stems: per sample the K output paths, or that of the one file that holds all.
        record: the run.json.
        beside: per name in ``BESIDE`` the K output paths; () if there are none.
        sheet: the contact sheet, if there is to be one.
        page: the page of HTML, likewise; it shows the other outputs.
    """

    source: Path
    track: str
    folder: str
    stems: tuple[tuple[Path, ...], ...]
    record: Path
    beside: tuple[tuple[Path, ...], ...] = ()
    sheet: Path | None = None
    page: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All outputs."""
        stems = (path for paths in (*self.stems, *self.beside) for path in paths)
        return (*stems, *([self.sheet] if self.sheet else []), self.record)


def template_of(
    choice: Choice, options: BatchOptions, defaults: tuple[str, str], *, together: bool = False
) -> str:
    """Return the template of file names; the defaults are those of one sample and of several.

    Raises:
        UsageError: the template has an unknown field, a conversion or a format, cannot give every stem a
            different name, or names stems that are ``together`` in one file.
    """
    template = options.filename or defaults[options.samples > 1]
    try:
        parts = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError:
        parts = [("", "", None)]
    fields = {field for field, _, _ in parts}
    if not fields <= set(FIELDS) or any(spec or conversion for _, spec, conversion in parts):
        raise UsageError(
            f"--filename {template} is not a template", f"fields: {', '.join(f'{{{f}}}' for f in FIELDS)}"
        )
    if together and "stem" in fields:
        raise UsageError(f"--filename {template} has {{stem}}, but one file holds all stems", "leave it out")
    needed = {"stem"} if len(choice.names) > 1 and not together else set()
    needed |= {"sample"} if options.samples > 1 else set()
    for field in needed - fields:
        raise UsageError(f"--filename {template} lacks {{{field}}}", "every stem needs a different name")
    named = "ext" in fields or Path(template).suffix.lower() in media_suffixes()
    return template if named else f"{template}.{{ext}}"


def media_suffixes() -> set[str]:
    """Return the suffixes of all media."""
    return {suffix for row in MEDIA.values() for suffix in row.suffixes}


def plan(
    source: Path, folder: str, extension: str, template: str, choice: Choice, options: BatchOptions
) -> Job:
    """Name the outputs of one input, which was found in a folder, and whose stems have an extension.

    Images have a contact sheet and, of several samples, mean and standard deviation.

    Raises:
        OutputError: the template leads out of the folder, or ends with another suffix than the stems'.
        UsageError: the latter, for images.
    """

    def paths(sample: str) -> tuple[Path, ...]:
        fields = {"track": track, "ext": extension, "sample": sample, "prior": safe_name(choice.prior)}
        form = template if folder else template.replace("{folder}/", "")
        stems = choice.names if "{stem}" in form else choice.names[:1]  # else one file holds all
        names = [form.format(stem=safe_name(stem), folder=folder, **fields) for stem in stems]
        return tuple(inside(options.out, name) for name in names)

    images = choice.medium == "image"
    track = safe_name(source.stem)
    suffix = Path(template).suffix.lower()
    if suffix in media_suffixes() and not template.lower().endswith(f".{extension}"):
        wrong = UsageError if images else OutputError  # images have one format for all inputs
        raise wrong(
            f"--filename {template}: outputs of {source} are {extension.upper()} files, not {suffix}",
            "end it with .{ext}, or choose with --format",
        )
    numbers = tuple(f"{number:02d}" for number in range(1, options.samples + 1))
    stems = tuple(paths(number) for number in numbers)
    several = images and options.samples > 1
    beside = tuple(paths(name) for name in BESIDE if several)
    together = Path(os.path.commonpath([path.parent for group in (*stems, *beside) for path in group]))
    within = together.relative_to(options.out)
    prefix = "" if track in within.parts else f"{track}."
    if folder and "{folder}" in template and f"/{folder}/" not in f"/{within.as_posix()}/":
        prefix = f"{folder.replace('/', '-')}.{prefix}"
    sheet = together / f"{prefix}contact.png" if images else None
    record = together / f"{prefix}run.json"
    page = page_beside(record) if options.html else None
    return Job(source, track, folder, stems, record, beside, sheet, page)


def page_beside(record: Path) -> Path:
    """Return the path of the page of a record."""
    return record.with_name(record.name.removesuffix("run.json") + "page.html")


def is_complete(job: Job) -> bool:
    """Return whether all files of a job are there."""
    return all(path.is_file() for path in job.files)


def existing(job: Job, *, resume: bool, replayed: bool = False) -> OutputError | None:
    """Return why a job, maybe of a replay, needs files replaced; None if none of its files exists."""
    skip = "" if replayed else "--resume to skip it, "
    hint = f"use --overwrite to replace it, {skip}or another --out folder"
    if resume:
        hint = "it is not of a finished run: add --overwrite to replace it, or choose another --out folder"
    for path in (*job.files, *([job.page] if job.page else [])):
        if os.path.lexists(path):
            return OutputError(f"{path} exists already", hint)
    return None


def unwritable(job: Job) -> OutputError | None:
    """Return why a folder of a job cannot be written; None if their rights allow it."""
    for folder in dict.fromkeys(path.parent for path in job.files):
        there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not there.is_dir():
            return OutputError(f"{there} is not a folder", "choose another --out folder")
        if not os.access(there, os.W_OK | os.X_OK):
            return OutputError(f"the folder {there} may not be written", "choose another --out folder")
    return None


def alone(path: Path | None, hint: str) -> AbstractContextManager[None]:
    """Return a context in which no other run writes a file or a folder; None: there is none.

    Raises:
        OutputError: another run does; its advice is to wait, or ``hint``.
    """
    if path is None:
        return nullcontext()
    return locked(
        lock_of(path), OutputError(f"another run is writing {path}", f"wait until it ends, or {hint}")
    )


def in_use(job: Job) -> OutputError:
    """Return the error of a job that another run is doing."""
    return OutputError(
        f"another run is writing {job.record.parent}", "wait until it ends, or choose another --out folder"
    )


def linked_folders(jobs: Iterable[Job], out: Path) -> dict[Path, Path]:
    """Return the folders of jobs, below the folder of outputs, that are links, and where they lead."""
    folders = {parent for job in jobs for path in job.files for parent in path.parents}
    links = (folder for folder in sorted(folders) if out in folder.parents and folder.is_symlink())
    return {folder: folder.resolve() for folder in links}


def collisions(jobs: Mapping[Job, str]) -> dict[Job, OutputError]:
    """Return the jobs that would write a file of an earlier one, or a file twice, or replace an input.

    Args:
        jobs: job → template of its file names.
    """
    owner: dict[str, Job] = {}
    inputs = {os.path.realpath(job.source) for job in jobs}
    refused: dict[Job, OutputError] = {}
    for job, template in jobs.items():
        keys = [os.path.normcase(os.path.abspath(path)) for path in job.files]
        error = _collision(job, keys, owner, inputs, template)
        if error is None:
            owner |= dict.fromkeys(keys, job)
        else:
            refused[job] = error
    return refused


def _collision(
    job: Job, keys: Sequence[str], owner: Mapping[str, Job], inputs: Set[str], template: str
) -> OutputError | None:
    for path, key in zip(job.files, keys, strict=True):
        if os.path.realpath(path) in inputs:
            message = f"a stem of {job.source} would replace the input {path}"
            return OutputError(message, "choose another --out folder")
        if key in owner:
            message = f"{owner[key].source} and {job.source} would both write {path}"
            return OutputError(message, _apart(job, owner[key], template))
        if keys.count(key) > 1:
            message = f"two outputs of {job.source} would both be {path}"
            return OutputError(message, "choose another --filename")
    return None


def _apart(job: Job, other: Job, template: str) -> str:
    """Return how two jobs get different outputs: by a field that the template lacks, or by hand."""
    differs = {"{folder}": job.folder != other.folder, "{track}": job.track != other.track}
    for field in (field for field, helps in differs.items() if helps and field not in template):
        return f"use {field} in --filename, or separate them into two --out folders"
    return "separate them into two --out folders, or rename one of them"
