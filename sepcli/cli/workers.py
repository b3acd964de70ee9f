"""``--jobs``, ``--executor`` and ``--device``: the one choice of who works on the items of a command."""

from __future__ import annotations

from sepcli.cli import console
from sepcli.errors import UsageError, nearest
from sepcli.separation.executor import EXECUTORS, Executor, Wanted


def open_executor(device: str, jobs: int | None, executor: str | None, quiet: bool = False) -> Executor:
    """Return what the options choose: this process, unless several workers or devices or an executor are.

    Args:
        device: one device, or several GPUs as in ``cuda:0,1``.
        jobs: largest number of workers; None: the executor's default.
        executor: name in ``EXECUTORS``, maybe with a colon and the address of a cluster.
        quiet: no note on fewer workers than jobs.

    Raises:
        UsageError: there is no such executor, or it cannot have these devices or workers.
        SepError: a package or a cluster is missing.
    """
    devices = _devices(device)
    several = (jobs or 1) > 1 or len(devices) > 1
    name, _, address = (executor or ("processes" if several else "serial")).partition(":")
    if name not in EXECUTORS:
        raise UsageError(f"--executor {executor}: there is no such executor", nearest(name, EXECUTORS))
    row = EXECUTORS[name]
    if address and not row.addresses:
        raise UsageError(f"--executor {executor}: {name} has no address", f"use --executor {name}")
    chosen = row.make(Wanted(devices, jobs, address))
    if jobs is not None and jobs > len(chosen.devices):
        what = "processor" if chosen.devices[0] == "cpu" else "GPU"
        console.note(f"{len(chosen.devices)} instead of {jobs} jobs: one per {what}", quiet)
    return chosen


def _devices(text: str) -> tuple[str, ...]:
    """Return the devices of ``cuda:0,1`` or ``cuda:0,cuda:1``."""
    first, *others = (part.strip() for part in text.split(","))
    kind = first.partition(":")[0]
    return (first, *(f"{kind}:{part}" if part.isdecimal() else part for part in others))
