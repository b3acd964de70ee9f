"""``--dry-run``: what would be done with every input, and what it would take."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console

if TYPE_CHECKING:
    from sepcli.cli.cost import Cost
    from sepcli.cli.outputs import Job
    from sepcli.cli.work import Work


def describe(
    jobs: Mapping[Job, Work],
    todo: Sequence[Job],
    costs: Mapping[Work, tuple[str, Cost | None]],
    workers: int,
    silent: bool,
) -> list[dict[str, Any]]:
    """Print what would be done, unless ``silent``; return the entries of the document, one per job.

    Args:
        jobs: all that are finished or would be done.
        todo: those that would be done.
        costs: of every work its device and, of audio, its cost.
        workers: number of jobs that are done side by side.
        silent: nothing is printed.
    """
    entries = [_entry(job, work, job in todo, *costs[work]) for job, work in jobs.items()]
    if not silent:
        for job, entry in zip(jobs, entries, strict=True):
            console.emit(_line(job, entry))
        console.emit(_total(entries, workers))
    return entries


def clock(seconds: float) -> str:
    """Return a duration as in ``0:09``, ``12:05`` or ``1:02:05``."""
    whole = max(1, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _entry(job: Job, work: Work, todo: bool, device: str, cost: Cost | None) -> dict[str, Any]:
    estimated = cost if todo else None
    return {
        "input": str(job.source),
        "medium": work.choice.medium,
        "prior": work.choice.prior,
        "outputs": [str(path) for path in (*job.files, *([job.page] if job.page else []))],
        "skipped": not todo,
        "duration": None if estimated is None else estimated.durations[job.source],
        "estimated_seconds": None if estimated is None else round(estimated.seconds[job.source], 1),
        "estimated_memory": None if estimated is None else estimated.memory,
        "device": device,
    }


def _line(job: Job, entry: Mapping[str, Any]) -> str:
    if entry["skipped"]:
        return f"{job.source}: finished, it would be skipped"
    folder = Path(os.path.commonpath([path.parent for path in job.files]))
    names = ", ".join(os.path.relpath(path, folder) for path in entry["outputs"])
    length = "" if entry["duration"] is None else f" of {clock(entry['duration'])}"
    return f"{job.source}: {entry['medium']}{length}, {entry['prior']}\n  → {folder}: {names}"


def _total(entries: Sequence[Mapping[str, Any]], workers: int) -> str:
    """Return the line on all inputs; images have no estimate, and memory is that of one worker."""
    todo = [entry for entry in entries if not entry["skipped"]]
    text = f"{len(todo)} of {len(entries)} inputs would be done"
    if estimates := [entry for entry in todo if entry["estimated_seconds"] is not None]:
        each = [entry["estimated_seconds"] for entry in estimates]
        seconds = max(sum(each) / workers, *each, 0)
        text += f", audio in about {clock(seconds)} on {estimates[0]['device']}"
        if memory := max(entry["estimated_memory"] or 0 for entry in estimates):
            text += f" with {memory / 1e9:.1f} GB of memory"
    return text
