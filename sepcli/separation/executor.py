"""Executors of independent items: in this process, in several processes, or on a Ray cluster.

``EXECUTORS`` is the table of executors; this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, TypeVar

from sepcli.errors import SepError, UsageError
from sepcli.protocols import ProgressCallback
from sepcli.separation.threads import limited
from sepcli.settings import Workers, require

State = TypeVar("State")
Item = TypeVar("Item")
Result = TypeVar("Result")

OnPart = Callable[[float, float], None]
"""Progress on an item: called with what is done and the whole, in any unit."""
STEPS = 1000
"""Steps of progress per item."""


class Executor(Protocol):
    """Maps a function over independent items."""

    @property
    def devices(self) -> Sequence[str]:
        """The device of every worker, such as ``cpu`` or ``cuda:0``."""

    def map(
        self,
        setup: Callable[[str], State],
        fn: Callable[[State, Item, OnPart], Result],
        items: Iterable[Item],
        on_progress: ProgressCallback | None = None,
        on_lost: Callable[[Item], None] | None = None,
    ) -> Iterator[tuple[int, Result | SepError]]:
        """Yield the number of every item, from 0, and its result, in the order in which they are finished.

        A worker that is killed is replaced, and its item is tried once more.

        Args:
            setup: makes a worker's state, once, from its device.
            fn: (state, item, on_part) → result. Other processes import it, as they do ``setup``; items and
                results are pickled.
            items: what is worked on; an iterable is read as workers become free.
            on_progress: called with (steps done, steps in all), ``STEPS`` per item.
            on_lost: called with an item whose worker was killed, before it is tried again or given up.

        Yields:
            Numbers, and results or errors: the ``SepError`` that ``fn`` raised, or ``WorkerLost`` for an item
            whose workers were killed.

        Raises:
            SepError: ``setup`` raised it, or no worker survives it.
        """


class WorkerLost(SepError):
    """A worker process has ended without a result."""

    def __init__(self) -> None:
        super().__init__("a worker was killed, as happens when memory is short", "use fewer workers")


@dataclass(frozen=True)
class Wanted:
    """What an executor is to have.

    Attributes:
        devices: names of devices; ``auto`` and ``cuda`` stand for all GPUs, or for processors.
        workers: largest number of workers; None: the executor's default.
        address: of a cluster; "": a new one on this machine.
    """

    devices: tuple[str, ...] = ("auto",)
    workers: int | None = None
    address: str = ""

    def __post_init__(self) -> None:
        """Refuse a number out of range; raise ``UsageError``."""
        if self.workers is not None:
            require(Workers, workers=self.workers)


@dataclass(frozen=True)
class ExecutorRow:
    """A row of ``EXECUTORS``.

    Attributes:
        name: on the command line.
        summary: one line.
        open: ``module:function`` from ``Wanted`` to an executor.
        addresses: whether it takes the address of a cluster.
    """

    name: str
    summary: str
    open: str
    addresses: bool = False

    def make(self, wanted: Wanted) -> Executor:
        """Make the executor.

        Raises:
            SepError: it cannot have these devices or workers, or a package or cluster is missing.
        """
        module, _, attribute = self.open.partition(":")
        executor: Executor = getattr(import_module(module), attribute)(wanted)
        return executor


_ROWS = (
    ExecutorRow("serial", "this process", "sepcli.separation.executor:open_serial"),
    ExecutorRow("processes", "processes of this machine", "sepcli.separation.processes:open_processes"),
    ExecutorRow("ray", "a Ray cluster", "sepcli.separation.ray_workers:open_ray", addresses=True),
)
EXECUTORS: Mapping[str, ExecutorRow] = {row.name: row for row in _ROWS}
"""Name → executor."""


@dataclass(frozen=True)
class Serial:
    """This process, which is one worker on one device.

    Attributes:
        device: of ``setup``.
        threads: of the libraries that compute, while it works; None: as before.
    """

    device: str = "cpu"
    threads: int | None = None

    @property
    def devices(self) -> Sequence[str]:
        """See ``Executor``."""
        return (self.device,)

    def map(
        self,
        setup: Callable[[str], State],
        fn: Callable[[State, Item, OnPart], Result],
        items: Iterable[Item],
        on_progress: ProgressCallback | None = None,
        on_lost: Callable[[Item], None] | None = None,
    ) -> Iterator[tuple[int, Result | SepError]]:
        """See ``Executor``."""
        total = len(items) if isinstance(items, Sized) else None
        report = on_progress or (lambda done, steps: None)
        with limited(self.threads):
            state = setup(self.device)
        for number, item in enumerate(items):
            every = STEPS * (number + 1 if total is None else total)

            def within(done: float, whole: float, number: int = number, every: int = every) -> None:
                report(int(STEPS * (number + share_of(done, whole))), every)

            outcome: Result | SepError
            try:
                with limited(self.threads):
                    outcome = fn(state, item, within)
            except SepError as error:
                outcome = error
            report(STEPS * (number + 1), every)
            yield number, outcome


def open_serial(wanted: Wanted) -> Serial:
    """Return this process on one device.

    Raises:
        UsageError: several devices or workers are wanted.
    """
    if len(wanted.devices) > 1 or wanted.workers not in (None, 1):
        raise UsageError("serial is one worker on one device", "use processes", argument="executor")
    return Serial(wanted.devices[0])


def share_of(done: float, whole: float) -> float:
    """Return the share that is done, from 0 to 1."""
    return min(done / whole, 1.0) if whole > 0 else 1.0


def in_order(numbered: Iterable[tuple[int, Result]]) -> Iterator[Result]:
    """Yield results by their numbers, from 0: those that come early wait for the others."""
    waiting: dict[int, Result] = {}
    following = 0
    for number, result in numbered:
        waiting[number] = result
        while following in waiting:
            yield waiting.pop(following)
            following += 1
