"""Executors of independent pieces of work: this process or several; the interface for other backends."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from sepcli.errors import SepError
from sepcli.protocols import ProgressCallback

State = TypeVar("State")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Maps a function over items."""

    def map(
        self,
        setup: Callable[[], State],
        fn: Callable[[State, Item], Result],
        items: Iterable[Item],
        on_progress: ProgressCallback | None = None,
    ) -> Iterator[Result]:
        """Yield ``fn(state, item)`` of every item, in order.

        Args:
            setup: makes the state, once per worker.
            fn: the work; with several processes a module's function, as are its items and results picklable.
            items: what is worked on.
            on_progress: called with (items done, all items).

        Raises:
            SepError: a worker was killed.
        """


@dataclass(frozen=True)
class Processes:
    """At most so many processes, with one thread each; one worker is this process."""

    workers: int

    def map(
        self,
        setup: Callable[[], State],
        fn: Callable[[State, Item], Result],
        items: Iterable[Item],
        on_progress: ProgressCallback | None = None,
    ) -> Iterator[Result]:
        """See ``Executor``."""
        every = list(items)
        if self.workers == 1 or len(every) < 2:
            state = setup()
            yield from _counted((fn(state, item) for item in every), len(every), on_progress)
            return
        context = multiprocessing.get_context("spawn")  # forking a process that has threads may hang
        count = min(self.workers, len(every))
        pool = ProcessPoolExecutor(count, context, initializer=_start, initargs=(setup,))
        try:
            yield from _counted(pool.map(partial(_work, fn), every), len(every), on_progress)
        except BrokenProcessPool as error:
            raise SepError(
                "a worker process was killed, as happens when memory is short", "use fewer workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _counted(results: Iterable[Result], total: int, on_progress: ProgressCallback | None) -> Iterator[Result]:
    for number, result in enumerate(results, start=1):
        yield result
        if on_progress is not None:
            on_progress(number, total)


_STATE: list[Any] = []
"""A worker's state; empty in the process that maps."""


def _start(setup: Callable[[], Any]) -> None:
    import torch
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it silently: the parent reports
    torch.set_num_threads(1)
    threadpool_limits(1)
    _STATE[:] = [setup()]


def _work(fn: Callable[[Any, Item], Result], item: Item) -> Result:
    return fn(_STATE[0], item)
