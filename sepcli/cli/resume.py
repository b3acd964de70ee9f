"""Resuming: is what an earlier run left in the folder what this run would make?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.catalog.card import sha256
from sepcli.cli import console
from sepcli.errors import OutputError

if TYPE_CHECKING:
    from sepcli.cli.outputs import Job

FORMAT = 1
"""The form of records; see ``sepcli.cli.run_record``."""
DIGEST = "input_sha256"
"""The entry that tells whether a mixture is still the one that the run separated."""
SPEED_ONLY: Mapping[str, set[str]] = {"": {"device"}, "stream": {"batch"}}
"""Entries by table that two runs may differ in and still be the same."""


def refuse_unlike(
    jobs: Sequence[Job], todo: Sequence[Job], made_with: Mapping[str, Any], overwrite: bool
) -> list[Job]:
    """Return the jobs that are left, with those that were finished with other options or another mixture.

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
        key = None if job in todo else _difference(job, wanted)
        if key is not None and not overwrite:
            raise OutputError(
                f"{job.record} is of a run with another {key}",
                "repeat that run's options, add --overwrite to replace it, or choose another --out folder",
            )
        if job in todo or key is not None:
            left.append(job)
    return left


def read_record(path: Path) -> dict[str, Any]:
    """Return a record; nothing if there is none, or it is another program's or of another form."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and record.get("format") == FORMAT else {}


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
