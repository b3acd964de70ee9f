"""Independent pieces of one computation side by side: one thread each, instead of all threads on each.

A library that divides every operation among its threads lets these wait for each other after each, which is
slow where other processes keep a core busy. Pieces that share nothing do not wait, and what comes of each
does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import TypeVar

import torch

from sepcli.protocols import ProgressCallback

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Item, ProgressCallback], Result]


def threads_of(device: torch.device) -> int:
    """Return the number of threads that compute on a device: those of PyTorch on the CPU, else one."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def side_by_side(
    work: Work[Item, Result],
    items: Sequence[Item],
    threads: int,
    on_progress: ProgressCallback | None = None,
    each: int = 0,
) -> list[Result]:
    """Return ``work(item, progress)`` of every item, in order, on several threads.

    Those of PyTorch are divided among the items. Where nothing can be divided, no thread is started.

    Args:
        work: done in several threads at once; calls ``progress`` with (steps done, steps in all).
        items: what is worked on.
        threads: at most so many.
        on_progress: called with (steps done, steps in all) of all items, by one thread at a time.
        each: threads of an item, for operations so small that it is not worth dividing them; 0: its share.
    """
    progress = _Progress(len(items), on_progress)
    workers, allowed = max(1, min(threads, len(items))), torch.get_num_threads()
    share = each or max(1, allowed // workers)
    if workers == 1 and share == allowed:
        return [work(item, progress.of(number)) for number, item in enumerate(items)]
    with ThreadPoolExecutor(workers, "sepcli", torch.set_num_threads, (share,)) as pool:
        try:
            futures = [pool.submit(work, item, progress.of(number)) for number, item in enumerate(items)]
            return [future.result() for future in futures]
        finally:
            progress.stop()
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(allowed)  # of threads that are started later


class _Stopped(Exception):
    """Another item failed, or the user interrupted."""


class _Progress:
    """Sums the progress of items; ends those that run when one has failed."""

    def __init__(self, items: int, on_progress: ProgressCallback | None) -> None:
        self._fractions = [0.0] * items
        self._on_progress, self._lock, self._stopped = on_progress, Lock(), Event()

    def of(self, number: int) -> ProgressCallback:
        """Return the callback of an item."""

        def progress(done: int, total: int) -> None:
            if self._stopped.is_set():
                raise _Stopped
            if self._on_progress is not None:
                with self._lock:
                    self._fractions[number] = done / max(1, total)
                    steps = max(1, total) * len(self._fractions)
                    self._on_progress(round(sum(self._fractions) * max(1, total)), steps)

        return progress

    def stop(self) -> None:
        """Raise in all items at their next step."""
        self._stopped.set()
