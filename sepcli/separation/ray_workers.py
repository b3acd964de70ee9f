"""Workers on a Ray cluster: actors, one per GPU or processor.

Inputs, priors and outputs are files: all machines of the cluster need them under the same paths.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import ModuleType
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
)

State = TypeVar("State")
Item = TypeVar("Item")
Result = TypeVar("Result")

ADDRESSES = "its address is HOST:PORT, ray://HOST:PORT, or auto"
CONNECT_SECONDS = 5.0
WAIT_SECONDS = 0.5
"""Time between two looks at the progress of the workers."""
STOP_SECONDS = 10.0
"""Time that the workers have to remove half-written files."""
WATCH = "watch"
"""The concurrency group of the methods that are called while a worker works."""


@dataclass(frozen=True)
class RayWorkers:
    """Actors on the cluster that this process is connected to.

    Attributes:
        devices: one per actor: ``cuda``, of which Ray chooses one for each, or ``cpu``.
        connected: whether this process connected for this executor, which then disconnects after its work.
        threads: of the libraries of a worker.
    """

    devices: tuple[str, ...]
    connected: bool
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
        ray = _imported()
        pool = _Pool(ray, self.devices, self.threads, ray.put(pack((setup, fn))))
        try:
            yield from distribute(pool, items, on_progress, on_lost)
        finally:
            if self.connected:
                ray.shutdown()


def open_ray(wanted: Wanted) -> RayWorkers:
    """Connect to a cluster, or start one on this machine, and return as many workers as it has room for.

    A process that is connected to a cluster stays so, whatever the address.

    Raises:
        SepError: Ray is missing, or there is no cluster at the address.
        UsageError: the devices are not ``auto``, ``cpu`` or ``cuda``, or the cluster has none of them.
    """
    if wanted.devices not in (("auto",), ("cpu",), ("cuda",)):
        raise UsageError(
            f"Ray chooses the devices of its workers, not {', '.join(wanted.devices)}",
            "use cuda or cpu, and a number of workers",
            argument="device",
        )
    ray = _imported()
    address = wanted.address or os.environ.get("RAY_ADDRESS", "")
    if address not in ("", "auto"):
        _check_reachable(address)
    connects = not ray.is_initialized()
    if connects:
        _connect(ray, address, wanted.workers)
    resources = ray.cluster_resources()
    gpus, processors = (int(resources.get(name, 0)) for name in ("GPU", "CPU"))
    device = "cuda" if wanted.devices == ("cuda",) or (gpus and wanted.devices == ("auto",)) else "cpu"
    room = gpus if device == "cuda" else processors
    if not room:
        raise UsageError(f"the Ray cluster has no {device}", "use another device", argument="device")
    return RayWorkers((device,) * min(wanted.workers or room, room), connects)


def _imported() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
    except ImportError as error:
        raise SepError("Ray is not installed", "run `pip install sepcli[ray]`") from error
    module: ModuleType = ray
    return module


def _connect(ray: ModuleType, address: str, workers: int | None) -> None:
    options: dict[str, Any] = {"address": address}
    if not address:
        options = {"address": "local", "num_cpus": workers, "include_dashboard": False}
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), _same_signals():
            warnings.simplefilter("ignore")
            ray.init(**options, log_to_driver=False, configure_logging=False)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise SepError(f"cannot use Ray at {address or 'this machine'}: {reason}", ADDRESSES) from error
    _silence(ray)


def _check_reachable(address: str) -> None:
    """Refuse an address where nothing listens: Ray itself would try for minutes.

    Raises:
        SepError: nothing listens there.
        UsageError: it is not an address.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 1 << 16):
        raise UsageError(f"{address} is not the address of a Ray cluster", ADDRESSES, argument="executor")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise SepError(
            f"there is no Ray cluster at {address}: {error.strerror or error}",
            "start the cluster, or correct the address",
        ) from error


@contextmanager
def _same_signals() -> Iterator[None]:
    """Keep this process's answer to SIGTERM, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _silence(ray: ModuleType) -> None:
    """Keep Ray from printing the deaths of workers to stdout, where data go; ``log_to_driver`` does not."""
    worker: Any = getattr(getattr(ray, "_private", None), "worker", None)
    if hasattr(worker, "_worker_logs_enabled"):
        worker._worker_logs_enabled = False


class RayWorker:
    """The actor: one worker, on any machine of the cluster."""

    def __init__(self, packed: bytes, device: str, threads: int, folder: str) -> None:
        self._made_of = packed, device, threads
        self._folder = folder
        self._share = 0.0

    def begin(self) -> Event:
        """Make the state, in the folder of the process that distributes the items."""
        try:
            os.chdir(self._folder)
        except OSError:
            message = f"{socket.gethostname()} has no folder {self._folder}"
            return Failed(SepError(message, "work in a folder that all machines of the cluster share"))
        try:
            self._state, self._fn = begin(*self._made_of)
        except Exception as error:
            return Failed(portable(error))
        return Ready()

    def work(self, item: Any) -> Event:
        """Work on an item, unless ``stop`` is called meanwhile."""
        self._share, self._thread = 0.0, threading.get_ident()
        try:
            return attempt(self._fn, self._state, item, self._report)
        except KeyboardInterrupt:
            return Lost()

    def share(self) -> Event:
        """Return how far the work is; it is called meanwhile."""
        return Progress(self._share)

    def stop(self) -> None:
        """Interrupt the work, so that half-written files are removed."""
        thread = ctypes.c_ulong(self._thread)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(KeyboardInterrupt))

    def _report(self, share: float) -> None:
        self._share = share


@dataclass
class _Pool:
    """See ``sepcli.separation.workers.Pool``.

    Attributes:
        ray: the module.
        devices: of the actors.
        threads: of a worker's libraries.
        packed: reference of what the workers are to do.
        actors: worker → actor.
        tasks: reference of what an actor does → worker.
        looks: reference of the progress of an actor → worker.
        working: workers with an item.
        looked: time of the last look at progress.
    """

    ray: Any
    devices: tuple[str, ...]
    threads: int
    packed: Any
    actors: dict[int, Any] = field(default_factory=dict)
    tasks: dict[Any, int] = field(default_factory=dict)
    looks: dict[Any, int] = field(default_factory=dict)
    working: set[int] = field(default_factory=set)
    looked: float = 0.0

    @property
    def size(self) -> int:
        return len(self.devices)

    def start(self, worker: int) -> None:
        device = self.devices[worker]
        actor = self.ray.remote(
            num_cpus=self.threads, num_gpus=int(device == "cuda"), concurrency_groups={WATCH: 1}
        )(RayWorker)
        self.actors[worker] = actor.remote(self.packed, device, self.threads, os.getcwd())
        self.tasks[self.actors[worker].begin.remote()] = worker

    def send(self, worker: int, item: Any) -> None:
        self.tasks[self.actors[worker].work.remote(item)] = worker
        self.working.add(worker)

    def wait(self) -> Sequence[tuple[int, Event]]:
        if time.monotonic() - self.looked > WAIT_SECONDS and not self.looks:
            self.looked = time.monotonic()
            for worker in self.working:
                look = self.actors[worker].share.options(concurrency_group=WATCH)
                self.looks[look.remote()] = worker
        done, _ = self.ray.wait([*self.tasks, *self.looks], timeout=WAIT_SECONDS)
        events = []
        for reference in done:
            if reference in self.tasks:
                worker = self.tasks.pop(reference)
                self.working.discard(worker)
                events.append((worker, self._result(reference, worker)))
            else:
                worker = self.looks.pop(reference)
                with suppress(self.ray.exceptions.RayError):  # lost: so says its task
                    event: Event = self.ray.get(reference)
                    events += [(worker, event)] if worker in self.working else []
        return events

    def close(self) -> None:
        for worker in self.working:
            self.actors[worker].stop.options(concurrency_group=WATCH).remote()
        tasks = [task for task, worker in self.tasks.items() if worker in self.working]
        if tasks:
            self.ray.wait(tasks, num_returns=len(tasks), timeout=STOP_SECONDS)
        for actor in self.actors.values():
            self.ray.kill(actor)
        self.actors.clear()

    def _result(self, reference: Any, worker: int) -> Event:
        try:
            event: Event = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            if getattr(error, "actor_init_failed", False):
                reason = str(error).strip().splitlines()[-1]
                hint = "install the same sepcli on all machines of the cluster"
                return Failed(SepError(f"a worker of the Ray cluster cannot start: {reason}", hint))
            self.ray.kill(self.actors.pop(worker))
            return Lost()
        return event
