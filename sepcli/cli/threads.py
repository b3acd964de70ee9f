"""Threads of the libraries, chosen before they are loaded: by the machine, not by its load."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

SPINS = "1000"
"""How often a thread that waits looks again before it sleeps, in GNU's OpenMP."""
ARENA_MAX = -8
"""The parameter of mallopt that limits the number of heaps."""
QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""The file of a container's share of the processors: microseconds, and the period of these."""


def allow_threads(environment: MutableMapping[str, str], quota: Path = QUOTA) -> None:
    """Set what is not set of the environment that libraries of threads read when they are loaded.

    OpenMP counts the processors that a process may run on, not a container's share of them: with a thread
    for each processor, they wait for their turns. Threads that wait for others sleep soon: where processors
    are shared, spinning takes the time of those that they wait for; sleeping at once, time to wake up.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment["OMP_WAIT_POLICY"] = "passive"
        environment.setdefault("GOMP_SPINCOUNT", SPINS)
    share = container_share(quota)
    if share is not None and share < processors():
        environment.setdefault("OMP_NUM_THREADS", str(max(1, round(share))))


def share_heap(environment: MutableMapping[str, str]) -> None:
    """Let all threads allocate from one heap, here and in workers, where the C library is GNU's.

    It has a heap per thread otherwise, each of which keeps what large arrays of that thread have left.
    """
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in environment:
        environment["MALLOC_ARENA_MAX"] = "1"
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(ARENA_MAX, 1)


def processors() -> int:
    """Return the number of processors that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def container_share(quota: Path = QUOTA) -> float | None:
    """Return a container's share of the processors, such as 1.5; None: all."""
    try:
        share, period = quota.read_text(encoding="ascii").split()
        return None if share == "max" else round(int(share) / int(period), 2)
    except (OSError, ValueError):
        return None
