"""run.json of one input: assembled, compared with that of an earlier run, and written; see ``RunRecord``."""

from __future__ import annotations

import getpass
import json
import os
import platform
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from sepcli import __version__
from sepcli.atomic import write_whole
from sepcli.catalog.card import sha256
from sepcli.cli import console
from sepcli.cli.outputs import BESIDE, Job
from sepcli.cli.records import FORMAT, RunRecord, find_record, make_record
from sepcli.errors import OutputError
from sepcli.media import MEDIA

DIGEST = "input_sha256"
IRRELEVANT: Mapping[str, set[str]] = {"": {"device"}, "stream": {"batch"}, "options": {"filename"}}
"""Entries by table that two runs may differ in and still be the same, up to rounding."""
COMMON = ("torch", "numpy")
"""Distributions whose versions all records have."""


def assemble(
    job: Job,
    made_with: Mapping[str, Any],
    details: Mapping[str, Any],
    references: Sequence[str],
    libraries: Sequence[str],
) -> RunRecord:
    """Return the record of a finished job.

    Args:
        job: its files are hashed.
        made_with: entries that are alike for all inputs: what ran.
        details: entries of the input.
        references: names and folders of the priors.
        libraries: distributions whose versions are recorded besides the common ones.
    """
    from importlib.metadata import version

    import torch

    folder = job.record.parent
    beside = {name: _relative(paths, folder) for name, paths in zip(BESIDE, job.beside, strict=False)}
    stream = made_with.get("stream")
    entries = {
        **made_with,
        **beside,
        **({} if job.sheet is None else {"contact_sheet": _relative([job.sheet], folder)[0]}),
        **details,
        "format": FORMAT,
        "input": path_from(job.source, folder),
        DIGEST: sha256(job.source),
        "stems": [_relative(paths, folder) for paths in job.stems],
        "outputs": {_relative([path], folder)[0]: sha256(path) for path in job.files if path != job.record},
        "prior_references": [_reference(reference, folder) for reference in references],
        "plan": {
            "samples": stream["samples"] if stream else len(job.stems),
            "windows": stream["batch"] if stream else None,
        },
        "threads": torch.get_num_threads(),
        "machine": _machine(str(made_with["device"])),
        "versions": {
            "sepcli": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in (*COMMON, *libraries)},
        },
    }
    return make_record(console.finite_or_null(entries))


def path_from(source: Path, folder: Path) -> str:
    """Return the path of a file relative to a record's folder, with ``..`` where it lies outside.

    That is the bare name if the path would name the user, the host, or where a home folder or another drive
    is.
    """
    try:
        relative = os.path.relpath(source, folder)
        common = Path(os.path.commonpath([os.path.abspath(source), os.path.abspath(folder)]))
    except ValueError:  # another drive
        return source.name
    home = Path.home()
    private = {home.name, socket.gethostname()}
    with suppress(Exception):  # no such user: KeyError, OSError or ImportError
        private.add(getpass.getuser())
    if common == Path(common.anchor) or common in home.parents or private & {*Path(relative).parts[:-1]}:
        return source.name
    return Path(relative).as_posix()


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record or report as JSON, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    data = f"{console.to_json(record)}\n".encode()
    write_whole(path, data, "free some space or choose another --out folder")


def unlike(job: Job, made_with: Mapping[str, Any]) -> OutputError | None:
    """Return why a finished job is of another run: with other options, or of another mixture.

    Args:
        job: whose files are all there.
        made_with: what a record of this run would say; entries that a record lacks are not compared.
    """
    key = _difference(find_record(job.record), job, json.loads(console.to_json(made_with)))
    if key is None:
        return None
    return OutputError(
        f"{job.record} is of a run with another {key}",
        "repeat that run's options, add --overwrite to replace it, or choose another --out folder",
    )


def replace_record(job: Job, record: RunRecord, quiet: bool) -> None:
    """Write run.json, then remove what an earlier run with the same prior wrote and this one did not.

    These are, for example, the further samples of an earlier ``--samples``. A file is left alone unless the
    earlier run.json lists it with the hash that it has, and it is audio or an image in the record's folder or
    below. Where run.json cannot be written, nothing of the run is left.

    Raises:
        OutputError: the file cannot be written.
    """
    earlier = find_record(job.record)
    try:
        write_record(job.record, as_entries(record))
    except OutputError:
        for path in (*job.files, job.record):  # stems without a record, and another run's record
            with suppress(OSError):
                path.unlink()
        raise
    if earlier is None or (earlier.engine, earlier.prior) != (record.engine, record.prior):
        return
    kept = {os.path.realpath(path) for path in (*job.files, job.source)}
    for path in _unchanged(earlier, job.record.parent):
        if os.path.realpath(path) not in kept:
            with suppress(OSError):
                path.unlink()
                console.note(f"removed {path}, of the earlier run", quiet)
                path.parent.rmdir()  # unless something else is in it


def as_entries(record: RunRecord) -> dict[str, Any]:
    """Return a record as its JSON document."""
    entries: dict[str, Any] = json.loads(json.dumps(msgspec.to_builtins(record)))
    return entries


def differing(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield table ("" for none) and name of the entries of a record that another lacks or has otherwise.

    Entries that ``there`` lacks as a whole are not compared.
    """
    for key, value in wanted.items():
        other = there.get(key, value)
        if isinstance(value, dict) and isinstance(other, dict):
            for name in {**value, **other}:
                if value.get(name) != other.get(name):
                    yield key, name
        elif other != value:
            yield "", key


def _difference(record: RunRecord | None, job: Job, wanted: Mapping[str, Any]) -> str | None:
    """Return the first entry in which a record is not what is wanted; of a table, with the table's name."""
    if record is None:
        return "format"
    for table, name in differing(wanted, as_entries(record)):
        if name not in IRRELEVANT.get(table, ()):
            return f"{table}: {name}" if table else name
    if len(record.stems) != len(job.stems):
        return "number of samples"
    return "input" if record.input_sha256 != sha256(job.source) else None


def _relative(paths: Sequence[Path], folder: Path) -> list[str]:
    return [Path(os.path.relpath(path, folder)).as_posix() for path in paths]


def _reference(reference: str, folder: Path) -> str:
    """Return a prior's name as it is; the path of a folder relative to the record, beginning with a dot."""
    from sepcli.catalog import index

    if reference in index.names() or not os.path.isdir(reference):
        file, colon, name = reference.rpartition(":")
        return f"{Path(file).name}:{name}" if colon and file.endswith(".py") else reference
    relative = path_from(Path(reference), folder)
    return relative if relative.startswith("../") else f"./{relative}"


def _machine(device: str) -> dict[str, str | None]:
    import torch

    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "accelerator": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
    }


def _unchanged(record: RunRecord, folder: Path) -> Iterator[Path]:
    """Yield the files that a record lists, lie in its folder or below, and are as they were written."""
    suffixes = {suffix for row in MEDIA.values() for suffix in row.suffixes}
    for name, digest in record.outputs.items():
        path = folder / name
        if path.suffix.lower() in suffixes and is_file_of(path, digest) and _is_inside(path, folder):
            yield path


def _is_inside(path: Path, folder: Path) -> bool:
    """Return whether a file is no link and lies in a folder or below, also without the links to it."""
    return not path.is_symlink() and Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents


def is_file_of(path: Path, digest: str) -> bool:
    """Return whether a path is a regular file with a hash."""
    try:
        return path.is_file() and sha256(path) == digest
    except (OSError, ValueError):  # unreadable, or no file name at all
        return False
