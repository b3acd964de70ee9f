"""Workers on a Ray cluster: actors, one per GPU or processor.

Inputs, priors and outputs are files: all machines of the cluster need them under the same paths.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sepcli.errors import SepError, UsageError
from sepcli.protocols import ProgressCallback
from sepcli.separation.executor import OnPart, Wanted
from sepcli.separation.ray_cluster import connect
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
        ray, _ = connect()
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
    ray, connected = connect(wanted.address, wanted.workers)
    resources = ray.cluster_resources()
    gpus, processors = (int(resources.get(name, 0)) for name in ("GPU", "CPU"))
    device = "cuda" if wanted.devices == ("cuda",) or (gpus and wanted.devices == ("auto",)) else "cpu"
    room = gpus if device == "cuda" else processors
    if not room:
        raise UsageError(f"the Ray cluster has no {device}", "use another device", argument="device")
    return RayWorkers((device,) * min(wanted.workers or room, room), connected)


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
