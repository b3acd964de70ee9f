"""run.json: what repeats and assesses the separation of one input, in one form for audio and images.

::

    format          1
    input           path of the mixture, and input_sha256
    stems           per sample the K files, the best sample first
    mean, std       of images with several samples: the K files
    contact_sheet   of images
    ...             what ran: priors, files with sha256, engine, sampler, settings, weights, device, stream
    seed            of the run
    samples         per sample seed, residual_rms, log_prior, agreement_db; null if unknown
    rank, medoid    of several samples: the rule of their order, and the number of the medoid, from 1
    confidence      of audio with several samples: per stem a list over seconds, dB
    report          measurements of the medium
    threads         of the processor that torch computes with
    versions        of the libraries

Paths are relative to the record's folder.
"""

from __future__ import annotations

import json
import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sepcli import __version__
from sepcli.atomic import write_whole
from sepcli.catalog.card import sha256
from sepcli.cli import console
from sepcli.cli.outputs import BESIDE, Job
from sepcli.errors import OutputError

FORMAT = 1
DIGEST = "input_sha256"
SPEED_ONLY: Mapping[str, set[str]] = {"": {"device"}, "stream": {"batch"}}
"""Entries by table that two runs may differ in and still be the same."""
LISTED = ("stems", *BESIDE, "contact_sheet")
"""Entries of a record that name files which the run wrote."""
WRITTEN = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".png")
"""Suffixes of the files that runs write beside their record."""


def assemble(
    job: Job, made_with: Mapping[str, Any], details: Mapping[str, Any], libraries: Sequence[str]
) -> dict[str, Any]:
    """Return the record of a job: what ran, alike for all inputs, details of the input, and versions."""
    from importlib.metadata import version

    import torch

    folder = job.record.parent
    beside = {name: _relative(paths, folder) for name, paths in zip(BESIDE, job.beside, strict=False)}
    return {
        "format": FORMAT,
        "input": input_path(job.source, folder),
        DIGEST: sha256(job.source),
        "stems": [_relative(paths, folder) for paths in job.stems],
        **beside,
        **({} if job.sheet is None else {"contact_sheet": _relative([job.sheet], folder)[0]}),
        **made_with,
        **details,
        "threads": torch.get_num_threads(),
        "versions": {"sepcli": __version__, **{name: version(name) for name in libraries}},
    }


def input_path(source: Path, folder: Path) -> str:
    """Return the path of an input relative to a record's folder.

    That is the bare name if the path would spell out where a home folder or another drive is.
    """
    try:
        relative = os.path.relpath(source, folder)
        common = Path(os.path.commonpath([os.path.abspath(source), os.path.abspath(folder)]))
    except ValueError:  # another drive
        return source.name
    home = Path.home()
    if common == Path(common.anchor) or common in home.parents or home.name in Path(relative).parts:
        return source.name
    return Path(relative).as_posix()


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record or report as JSON, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    data = f"{console.to_json(record)}\n".encode()
    write_whole(path, data, "free some space or choose another --out folder")


def read_record(path: Path) -> dict[str, Any]:
    """Return a record; nothing if there is none, or it is another program's or of another form."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and record.get("format") == FORMAT else {}


def unlike(job: Job, made_with: Mapping[str, Any]) -> OutputError | None:
    """Return why a finished job is of another run: with other options, or of another mixture.

    Args:
        job: whose files are all there.
        made_with: what a record of this run would say; entries that a record lacks are not compared.
    """
    key = _difference(job, json.loads(console.to_json(made_with)))
    if key is None:
        return None
    return OutputError(
        f"{job.record} is of a run with another {key}",
        "repeat that run's options, add --overwrite to replace it, or choose another --out folder",
    )


def replace_record(job: Job, record: Mapping[str, Any], quiet: bool) -> None:
    """Write run.json, then remove what an earlier run with the same prior wrote and this one did not.

    These are, for example, the further samples of an earlier ``--samples``. A file is left alone unless the
    earlier run.json lists it, it has a suffix of ``WRITTEN``, lies in the same folder as that or below, is no
    newer, and is not the input. Where run.json cannot be written, nothing of the run is left.

    Raises:
        OutputError: the file cannot be written.
    """
    earlier = read_record(job.record)
    written = job.record.stat().st_mtime_ns if earlier else 0
    try:
        write_record(job.record, record)
    except OutputError:
        for path in (*job.files, job.record):  # stems without a record, and another run's record
            with suppress(OSError):
                path.unlink()
        raise
    if any(earlier.get(key) != record.get(key) for key in ("engine", "prior")):
        return
    kept = {os.path.realpath(path) for path in (*job.files, job.source)}
    for path in _listed(earlier, job.record.parent):
        with suppress(OSError, ValueError):  # not a file name at all
            if os.path.realpath(path) not in kept and _is_of_run(path, job.record.parent, written):
                path.unlink()
                console.note(f"removed {path}, of the earlier run", quiet)
                path.parent.rmdir()  # unless something else is in it


def _difference(job: Job, wanted: Mapping[str, Any]) -> str | None:
    """Return the first entry in which a record is not what is wanted; of a table, with the table's name."""
    record = read_record(job.record)
    if not record:
        return "format"
    for key, value in wanted.items():
        there = record.get(key, value)
        if isinstance(value, dict) and isinstance(there, dict):
            names = [name for name in {**value, **there} if name not in SPEED_ONLY.get(key, ())]
            unlike = [name for name in names if value.get(name) != there.get(name)]
            if unlike:
                return f"{key}: {unlike[0]}"
        elif there != value and key not in SPEED_ONLY[""]:
            return key
    if len(record.get("stems") or ()) != len(job.stems):
        return "number of samples"
    return "input" if record.get(DIGEST, "") != sha256(job.source) else None


def _relative(paths: Sequence[Path], folder: Path) -> list[str]:
    return [Path(os.path.relpath(path, folder)).as_posix() for path in paths]


def _listed(record: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    """Yield the files that a record names; absolute paths are none of a run's."""
    entries: deque[Any] = deque(record.get(key) for key in LISTED)
    while entries:
        entry = entries.popleft()
        if isinstance(entry, list):
            entries += entry
        elif isinstance(entry, str) and Path(entry).suffix in WRITTEN and not Path(entry).is_absolute():
            yield folder / entry


def _is_of_run(path: Path, folder: Path, written: int) -> bool:
    """Return whether a file lies in a folder or below, and is no newer than ``written`` (ns) nor a link."""
    if Path(os.path.realpath(folder)) not in Path(os.path.realpath(path.parent), path.name).parents:
        return False
    with suppress(OSError):
        about = path.lstat()
        return stat.S_ISREG(about.st_mode) and about.st_mtime_ns <= written
    return False
