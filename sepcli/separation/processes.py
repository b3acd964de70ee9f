"""Workers that are processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from sepcli.errors import SepError, UsageError
from sepcli.protocols import ProgressCallback
from sepcli.separation.executor import OnPart, Wanted
from sepcli.separation.workers import (
    Event,
    Failed,
    Lost,
    Progress,
    Ready,
    attempt,
    begin,
    distribute,
    pack,
    portable,
    unpack,
)

State = TypeVar("State")
Item = TypeVar("Item")
Result = TypeVar("Result")

STOP_SECONDS = 10.0
"""Time that a worker has to remove half-written files."""


@dataclass(frozen=True)
class Processes:
    """One process per device, each with so many threads; a processor may be named several times."""

    devices: tuple[str, ...]
    threads: int = 1

    def map(
        self,
        setup: Callable[[str], State],
        fn: Callable[[State, Item, OnPart], Result],
        items: Iterable[Item],
        on_progress: ProgressCallback | None = None,
        on_lost: Callable[[Item], None] | None = None,
    ) -> Iterator[tuple[int, Result | SepError]]:
        """See ``Executor``."""
        pool = _Pool(self.devices, self.threads, pack((setup, fn)))
        return distribute(pool, items, on_progress, on_lost)


def open_processes(wanted: Wanted) -> Processes:
    """Return one worker per GPU that is wanted, or as many workers on processors as are wanted.

    Raises:
        UsageError: there are more workers than GPUs, or a device is named twice.
    """
    names, workers = wanted.devices, wanted.workers
    devices = _gpus(*names) if names in (("auto",), ("cuda",)) else names
    if devices == ("cpu",):
        return Processes(devices * (workers or 1))
    if len({*devices}) < len(devices) or (len(devices) > 1 and "cpu" in devices):
        raise UsageError(
            f"{', '.join(devices)} are not different GPUs",
            "name each once, as in cuda:0,1",
            argument="device",
        )
    if names == devices and (workers or 1) > len(devices):
        raise UsageError(
            f"{workers} workers for {len(devices)} GPU(s)", "name one GPU per worker", argument="jobs"
        )
    return Processes(devices[:workers])


def _gpus(name: str) -> tuple[str, ...]:
    """Return the devices of ``auto`` or ``cuda``."""
    import torch

    gpus = tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    return gpus or (("mps",) if name == "auto" and torch.backends.mps.is_available() else ("cpu",))


@dataclass
class _Pool:
    """See ``sepcli.separation.workers.Pool``."""

    devices: tuple[str, ...]
    threads: int
    packed: bytes
    running: dict[int, tuple[BaseProcess, Connection]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.devices)

    def start(self, worker: int) -> None:
        context = multiprocessing.get_context("spawn")  # forking a process that has threads may hang
        ours, theirs = context.Pipe()
        arguments = (theirs, self.devices[worker], self.threads)
        process = context.Process(target=_serve, args=arguments, daemon=True)
        with _ctrl_c_ignored():
            process.start()
        theirs.close()
        self.running[worker] = process, ours
        with suppress(OSError):  # killed: ``wait`` says so
            ours.send_bytes(self.packed)

    def send(self, worker: int, item: Any) -> None:
        with suppress(OSError):
            self.running[worker][1].send_bytes(pack(item))

    def wait(self) -> Sequence[tuple[int, Event]]:
        workers = {id(connection): worker for worker, (_, connection) in self.running.items()}
        ready = wait([connection for _, connection in self.running.values()])
        return [(workers[id(one)], self._receive(workers[id(one)])) for one in ready]

    def close(self) -> None:
        for process, connection in self.running.values():
            process.terminate()
            connection.close()
        for process, _ in self.running.values():
            process.join(STOP_SECONDS)
            process.kill()
            process.join()
        self.running.clear()

    def _receive(self, worker: int) -> Event:
        process, connection = self.running[worker]
        try:
            event: Event = unpack(connection.recv_bytes())
        except (EOFError, OSError):
            connection.close()
            process.join(STOP_SECONDS)
            process.kill()
            del self.running[worker]
            return Lost()
        return event


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Let a process that is started here ignore Ctrl-C, which its parent answers for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


def _serve(connection: Connection, device: str, threads: int) -> None:
    """Work on the items that come through a connection, until it is closed or the process gets SIGTERM."""

    def send(event: Event) -> None:
        connection.send_bytes(pack(event))

    with suppress(EOFError, OSError, KeyboardInterrupt):
        try:
            state, fn = begin(connection.recv_bytes(), device, threads)
        except Exception as error:
            return send(Failed(portable(error)))
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # half-written files are removed
        send(Ready())
        while True:
            item = unpack(connection.recv_bytes())
            send(attempt(fn, state, item, lambda share: send(Progress(share))))
