"""What an earlier run left in the folder for the stems, as its run.json tells it."""

from __future__ import annotations

import json
import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.catalog.card import sha256
from sepcli.cli import console
from sepcli.cli.run_record import write_record
from sepcli.errors import OutputError

if TYPE_CHECKING:
    from sepcli.cli.inputs import Job

LISTED = ("stems", "sources", "colorizations", "mean", "deviation", "contact_sheet")
"""Entries of a record that name files which the run wrote."""
WRITTEN = (".wav", ".flac", ".png")
"""What the files are called that runs write beside their record; anybody may have edited one."""
DIGEST = "input_sha256"
"""The entry that tells whether a mixture is still the one that the run separated."""
SPEED_ONLY = {"": {"device"}, "stream": {"batch"}}
"""Entries by table that two runs may differ in and still be the same."""


def refuse_unlike(
    jobs: Sequence[Job], todo: Sequence[Job], made_with: Mapping[str, Any], overwrite: bool
) -> list[Job]:
    """The jobs that are left, with those that were finished with another prior, seed, settings or mixture.

    Args:
        jobs: all.
        todo: those that are not finished at all.
        made_with: what a record of this run would say; entries that a record lacks are not compared.
        overwrite: do unlike ones again.

    Raises:
        OutputError: one is unlike, and not to be replaced.
    """
    wanted, left = json.loads(console.to_json(made_with)), []
    for job in jobs:
        key = None if job in todo else _difference(_read(job.record), wanted) or _other_input(job)
        if key is not None and not overwrite:
            raise OutputError(
                f"{job.record} is of a run with another {key}",
                "repeat that run's options, add --overwrite to replace it, or choose another --out folder",
            )
        if job in todo or key is not None:
            left.append(job)
    return left


def replace_record(job: Job, record: Mapping[str, Any], quiet: bool) -> dict[str, Any]:
    """Write run.json, then remove what an earlier run with the same prior wrote and this one did not.

    These are the further draws of an earlier ``--samples``, for example. A file is left alone unless the
    earlier run.json lists it, it is called as stems are (``WRITTEN``), it lies in the same folder as that or
    below, is no newer, and is not the input. Where run.json cannot be written, nothing of the run is left.

    Returns:
        The record as it was written, with the hash of the mixture.

    Raises:
        OutputError: the place cannot be written.
    """
    earlier = _read(job.record)
    written = job.record.stat().st_mtime_ns if earlier else 0
    whole = {**record, DIGEST: sha256(job.source)}
    try:
        write_record(job.record, whole)
    except OutputError:
        for path in (*job.files, job.record):  # stems without a record of their own, and a record of others
            with suppress(OSError):
                path.unlink()
        raise
    if any(earlier.get(key) != record.get(key) for key in ("method", "prior")):
        return whole
    mine = {os.path.realpath(path) for path in (*job.files, job.source)}
    for path in _listed(earlier):
        with suppress(OSError, ValueError):  # no name of a file at all
            if os.path.realpath(path) not in mine and _is_of_run(path, job.record.parent, written):
                path.unlink()
                console.note(f"removed {path}, of the earlier run", quiet)
                path.parent.rmdir()  # unless something else is in it
    return whole


def _read(path: Path) -> dict[str, Any]:
    """A record; nothing if there is none, or another program's."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _other_input(job: Job) -> str | None:
    """A word for the mixture, if a finished job was of another one; records of before tell nothing."""
    there = _read(job.record).get(DIGEST)
    return "input" if there is not None and there != sha256(job.source) else None


def _difference(record: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """The first entry in which a record is not what is wanted; of a table, with its own name."""
    if not record:
        return "way of recording"
    for key, value in wanted.items():
        there = record.get(key, value)
        if isinstance(value, dict) and isinstance(there, dict):
            names = [name for name in {**value, **there} if name not in SPEED_ONLY.get(key, ())]
            unlike = [name for name in names if value.get(name) != there.get(name)]
            if unlike:
                return f"{key}: {unlike[0]}"
        elif there != value and key not in SPEED_ONLY[""]:
            return key
    return None


def _listed(record: Mapping[str, Any]) -> Iterator[Path]:
    """The files that a record names."""
    words: deque[Any] = deque(record.get(key) for key in LISTED)
    while words:
        word = words.popleft()
        if isinstance(word, list):
            words += word
        elif isinstance(word, str) and Path(word).suffix in WRITTEN:
            yield Path(word)


def _is_of_run(path: Path, folder: Path, written: int) -> bool:
    """Whether a file lies in a folder or below, and is no newer than ``written`` (ns) nor a link."""
    if Path(os.path.realpath(folder)) not in Path(os.path.realpath(path.parent), path.name).parents:
        return False
    with suppress(OSError):
        about = path.lstat()
        return stat.S_ISREG(about.st_mode) and about.st_mtime_ns <= written
    return False
