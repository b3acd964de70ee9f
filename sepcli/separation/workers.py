"""Items for several workers: who works on what, and what follows when a worker is killed.

A backend starts workers and carries messages (``Pool``); ``distribute`` is the same for all of them.
"""

from __future__ import annotations

import os
import pickle
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, Protocol

from sepcli.errors import SepError
from sepcli.protocols import ProgressCallback
from sepcli.separation.executor import STEPS, OnPart, WorkerLost, share_of
from sepcli.separation.threads import set_threads

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
REPORT_SECONDS = 0.1
"""Least time between two reports of progress."""
MOST_DEATHS = 2
"""A worker that was lost so often in its setup is not replaced."""


@dataclass(frozen=True)
class Ready:
    """The setup of a worker is done, and it waits for an item."""


@dataclass(frozen=True)
class Progress:
    """The share of its item that a worker has done, from 0 to 1."""

    share: float


@dataclass(frozen=True)
class Done:
    """A worker has finished its item, with a result or a ``SepError``, and waits for another."""

    result: Any


@dataclass(frozen=True)
class Failed:
    """The setup of a worker failed, or an item raised another exception than ``SepError``."""

    error: Exception


@dataclass(frozen=True)
class Lost:
    """A worker was killed."""


Event = Ready | Progress | Done | Failed | Lost
Work = Callable[[Any, Any, OnPart], Any]
"""(state, item, progress) → result."""


class Pool(Protocol):
    """The workers of a backend, numbered from 0."""

    @property
    def size(self) -> int:
        """Largest number of workers."""

    def start(self, worker: int) -> None:
        """Start a worker, or replace one that was lost."""

    def send(self, worker: int, item: Any) -> None:
        """Give an item to a worker that waits for one."""

    def wait(self) -> Sequence[tuple[int, Event]]:
        """Wait for events for a while, and return them by worker."""

    def close(self) -> None:
        """Stop all workers."""


def distribute(
    pool: Pool,
    items: Iterable[Any],
    on_progress: ProgressCallback | None = None,
    on_lost: Callable[[Any], None] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Yield the numbers of items and their results as the workers finish them; see ``Executor.map``."""
    crew = _Crew(pool, enumerate(items), on_lost or (lambda item: None))
    total = len(items) if isinstance(items, Sized) else None
    try:
        crew.assign()
        while crew.busy or crew.waiting:
            for worker, event in pool.wait():
                yield from crew.take(worker, event)
            crew.assign()
            if on_progress is not None:
                steps = STEPS * (crew.read if total is None else total)
                on_progress(int(STEPS * (crew.finished + sum(crew.shares.values()))), steps)
    finally:
        pool.close()


@dataclass
class _Crew:
    """What the workers of a pool do.

    Attributes:
        pool: the workers.
        source: numbers and items that have not been read.
        on_lost: see ``Executor.map``.
        waiting: numbers and items that have been read for the next workers, and whether it is a second try.
        read: number of items that have been read.
        finished: number of items with a result.
        starting: workers in their setup.
        free: workers that wait for an item.
        busy: worker → its item, as in ``waiting``.
        shares: worker → share of its item that is done.
        deaths: worker → how often it was lost in its setup.
    """

    pool: Pool
    source: Iterator[tuple[int, Any]]
    on_lost: Callable[[Any], None]
    waiting: deque[tuple[int, Any, bool]] = field(default_factory=deque)
    read: int = 0
    finished: int = 0
    starting: set[int] = field(default_factory=set)
    free: set[int] = field(default_factory=set)
    busy: dict[int, tuple[int, Any, bool]] = field(default_factory=dict)
    shares: dict[int, float] = field(default_factory=dict)
    deaths: dict[int, int] = field(default_factory=dict)

    def assign(self) -> None:
        """Give items to free workers, and start as many others as there are further items."""
        for worker in sorted(self.free):
            if self._reads(1):
                self.free.discard(worker)
                self.busy[worker] = self.waiting.popleft()
                self.pool.send(worker, self.busy[worker][1])
        for worker in range(self.pool.size):
            idle = worker not in self.free | self.starting | self.busy.keys()
            usable = self.deaths.get(worker, 0) < MOST_DEATHS
            if idle and usable and self._reads(len(self.starting) + 1):
                self.starting.add(worker)
                self.pool.start(worker)

    def take(self, worker: int, event: Event) -> Iterator[tuple[int, Any]]:
        """Note an event; yield the item that it finishes.

        Raises:
            Exception: what a worker raised.
            WorkerLost: no worker survives its setup.
        """
        if isinstance(event, Ready):
            self.starting.discard(worker)
            self.free.add(worker)
        elif isinstance(event, Progress):
            self.shares[worker] = event.share
        elif isinstance(event, Done):
            number, _, _ = self.busy.pop(worker)
            self.free.add(worker)
            yield self._finish(worker, number, event.result)
        elif isinstance(event, Failed):
            raise event.error
        else:
            yield from self._lose(worker)

    def _lose(self, worker: int) -> Iterator[tuple[int, Any]]:
        self.free.discard(worker)
        if worker in self.starting:
            self.starting.discard(worker)
            self.deaths[worker] = self.deaths.get(worker, 0) + 1
            if all(self.deaths.get(number, 0) >= MOST_DEATHS for number in range(self.pool.size)):
                raise WorkerLost
        elif worker in self.busy:
            number, item, again = self.busy.pop(worker)
            self.on_lost(item)
            if again:
                yield self._finish(worker, number, WorkerLost())
            else:
                self.shares.pop(worker, None)
                self.waiting.appendleft((number, item, True))

    def _finish(self, worker: int, number: int, result: Any) -> tuple[int, Any]:
        self.shares.pop(worker, None)
        self.finished += 1
        return number, result

    def _reads(self, count: int) -> bool:
        """Return whether so many items are waiting, after reading further ones."""
        while len(self.waiting) < count and (following := next(self.source, None)) is not None:
            self.waiting.append((*following, False))
            self.read += 1
        return len(self.waiting) >= count


def pack(value: Any) -> bytes:
    """Return what is sent to another process of this program."""
    return pickle.dumps(value)


def unpack(data: bytes) -> Any:
    """Return what another process of this program has sent."""
    return pickle.loads(data)  # noqa: S301


def begin(packed: bytes, device: str, threads: int) -> tuple[Any, Work]:
    """Return a worker's state, and what it does with items, of ``pack((setup, fn))``.

    Libraries that are imported from now on compute with so many threads.
    """
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    setup, fn = unpack(packed)
    set_threads(threads)
    state = setup(device)
    set_threads(threads)  # of what setup has imported
    return state, fn


def attempt(fn: Work, state: Any, item: Any, report: Callable[[float], None]) -> Done | Failed:
    """Work on an item; ``report`` is called now and then with the share that is done."""
    reported = 0.0

    def on_part(done: float, whole: float) -> None:
        nonlocal reported
        if time.monotonic() - reported > REPORT_SECONDS:
            reported = time.monotonic()
            report(share_of(done, whole))

    try:
        return Done(fn(state, item, on_part))
    except SepError as error:
        return Done(error)
    except Exception as error:
        return Failed(portable(error))


def portable(error: Exception) -> Exception:
    """Return an exception as it can be sent to another process, with its traceback as a note."""
    error.add_note(f"in a worker process:\n{''.join(traceback.format_exception(error))}")
    try:
        unpack(pack(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}", *error.__notes__)
    return error
