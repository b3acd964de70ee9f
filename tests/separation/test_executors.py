"""Executors: results by number, errors as results, workers that are killed; processes, and a Ray cluster."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from executor_work import die, refuse, setup_in, square, threads_of

from sepcli.errors import InputError, OutputError, SepError, UsageError
from sepcli.evaluation.report import Failure
from sepcli.evaluation.run import NothingScored
from sepcli.separation.executor import EXECUTORS, STEPS, Executor, Serial, Wanted, WorkerLost, in_order
from sepcli.separation.processes import Processes
from sepcli.separation.workers import Done, Event, Failed, Lost, Progress, Ready, distribute, pack, unpack

HAS_RAY = importlib.util.find_spec("ray") is not None
TWO = Processes(("cpu", "cpu"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Executor]:
    """Two workers on a cluster of this machine, where the helpers of the tests can be imported."""
    ray = pytest.importorskip("ray")
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield EXECUTORS["ray"].make(Wanted(("cpu",), 2))
        ray.shutdown()


@pytest.fixture(
    params=[
        pytest.param("serial"),
        pytest.param("processes"),
        pytest.param("ray", marks=[pytest.mark.slow, pytest.mark.skipif(not HAS_RAY, reason="needs Ray")]),
    ]
)
def executor(request: pytest.FixtureRequest) -> Executor:
    made: dict[str, Executor] = {"serial": Serial(), "processes": TWO}
    return made[request.param] if request.param in made else request.getfixturevalue("cluster")


def test_every_item_has_a_result_or_an_error(executor: Executor, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    found = [*executor.map(setup_in(tmp_path), square, [3, -1, 5], lambda *step: steps.append(step))]
    assert sorted(number for number, _ in found) == [0, 1, 2]
    nine, error, rest = in_order(found)
    assert (nine, rest) == (9, 25)
    assert isinstance(error, InputError)
    assert error.argument == "number"
    assert steps == sorted(steps)
    assert steps[-1] == (3 * STEPS, 3 * STEPS)
    assert len((tmp_path / "setups").read_text().splitlines()) <= len(executor.devices)


def test_another_exception_stops_it_and_so_does_a_setup(executor: Executor, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="minus two"):
        list(executor.map(setup_in(tmp_path), square, [-2]))
    with pytest.raises(UsageError) as caught:
        list(executor.map(refuse, square, [1]))
    assert caught.value.hint == "use another"


def check_losses(executor: Executor, folder: Path) -> None:
    """Kill workers: an item is tried twice, the others are not lost."""
    lost: list[int] = []
    found = [*in_order(executor.map(setup_in(folder), square, [2, 12, 13, 4, 5], on_lost=lost.append))]
    assert found[:2] + found[3:] == [4, 144, 16, 25]
    assert isinstance(found[2], WorkerLost)
    assert sorted(lost) == [12, 13, 13]
    with pytest.raises(WorkerLost):
        list(executor.map(die, square, [1]))


def test_killed_processes_are_replaced(tmp_path: Path) -> None:
    check_losses(TWO, tmp_path)


@pytest.mark.slow
def test_killed_actors_are_replaced(cluster: Executor, tmp_path: Path) -> None:
    check_losses(cluster, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_the_threads_of_a_worker_are_set(threads: int, tmp_path: Path) -> None:
    ((_, found),) = Processes(("cpu",), threads).map(setup_in(tmp_path), threads_of, [0])
    assert found == (threads, str(threads))


def test_a_stopped_run_stops_its_workers(tmp_path: Path) -> None:
    results = TWO.map(setup_in(tmp_path), square, range(1000))
    next(results)
    results.close()
    assert len((tmp_path / "setups").read_text().splitlines()) <= 2


@dataclass
class Script:
    """A pool whose events are written down; ``sent`` is what its workers got."""

    size: int
    events: list[list[tuple[int, Event]]]
    sent: list[tuple[int, Any]] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    closed: bool = False

    def start(self, worker: int) -> None:
        self.started.append(worker)

    def send(self, worker: int, item: Any) -> None:
        self.sent.append((worker, item))

    def wait(self) -> list[tuple[int, Event]]:
        return self.events.pop(0)

    def close(self) -> None:
        self.closed = True


def test_items_are_read_as_workers_become_free() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(4):
            read.append(number)
            yield number

    pool = Script(2, [[(1, Ready())], [(1, Progress(0.5))], [(1, Done("a"))], [(0, Ready()), (1, Done("b"))]])
    found = distribute(pool, items())
    assert [next(found), next(found)] == [(0, "a"), (1, "b")]
    assert pool.started == [0, 1]
    assert pool.sent == [(1, 0), (1, 1)]
    assert read == [0, 1]
    found.close()  # type: ignore[attr-defined]
    assert pool.closed


def test_no_more_workers_than_items_and_a_lost_item_goes_to_any_worker() -> None:
    pool = Script(3, [[(0, Ready())], [(1, Ready())], [(0, Lost())], [(1, Done("x"))], [(1, Done("y"))]])
    assert list(distribute(pool, "xy")) == [(1, "x"), (0, "y")]
    assert pool.sent == [(0, "x"), (1, "y"), (1, "x")]
    assert pool.started == [0, 1, 0]


def test_a_worker_that_was_lost_while_it_waited_costs_no_item() -> None:
    pool = Script(1, [[(0, Ready())], [(0, Done(1)), (0, Lost())], [(0, Ready())], [(0, Done(2))]])
    assert list(distribute(pool, [1, 2])) == [(0, 1), (1, 2)]


def test_what_a_worker_raises_closes_the_pool() -> None:
    pool = Script(1, [[(0, Ready())], [(0, Failed(ValueError("no")))]])
    with pytest.raises(ValueError, match="no"):
        list(distribute(pool, [1]))
    assert pool.closed


@pytest.mark.parametrize(
    "error",
    [
        SepError("m", "h"),
        UsageError("m", "h", argument="settings.steps"),
        OutputError("m", "h"),
        NothingScored("m", "h", [Failure("a", "b")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_go_to_other_processes(error: SepError) -> None:
    copy = unpack(pack(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.args, vars(copy)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize(
    ("name", "wanted", "devices"),
    [
        ("serial", Wanted(), ("auto",)),
        ("serial", Wanted(("cpu",), 1), ("cpu",)),
        ("processes", Wanted(("cpu",)), ("cpu",)),
        ("processes", Wanted(("cpu",), 3), ("cpu",) * 3),
        ("processes", Wanted(("cuda:0", "cuda:2")), ("cuda:0", "cuda:2")),
        ("processes", Wanted(("cuda:0", "cuda:2"), 1), ("cuda:0",)),
    ],
)
def test_one_worker_per_gpu_and_any_number_on_processors(
    name: str, wanted: Wanted, devices: tuple[str, ...]
) -> None:
    assert EXECUTORS[name].make(wanted).devices == devices


@pytest.mark.parametrize(
    ("name", "wanted", "argument"),
    [
        ("serial", Wanted(workers=2), "executor"),
        ("serial", Wanted(("cuda:0", "cuda:1")), "executor"),
        ("processes", Wanted(("cuda:0",), 2), "jobs"),
        ("processes", Wanted(("cuda:0", "cuda:0")), "device"),
        ("processes", Wanted(("cpu", "cuda:0")), "device"),
        ("ray", Wanted(("cuda:0", "cuda:1")), "device"),
        pytest.param(
            *("ray", Wanted(("cpu",), 1, "nowhere"), "executor"),
            marks=pytest.mark.skipif(not HAS_RAY, reason="needs Ray"),
        ),
    ],
)
def test_workers_that_cannot_be_are_refused(name: str, wanted: Wanted, argument: str) -> None:
    with pytest.raises(UsageError) as caught:
        EXECUTORS[name].make(wanted)
    assert caught.value.argument == argument


@pytest.mark.skipif(not HAS_RAY, reason="needs Ray")
def test_an_address_where_nothing_listens_is_refused_at_once() -> None:
    with pytest.raises(SepError, match=r"127\.0\.0\.1:1"):
        EXECUTORS["ray"].make(Wanted(("cpu",), 1, "127.0.0.1:1"))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SepError) as caught:
        EXECUTORS["ray"].make(Wanted())
    assert "sepcli[ray]" in caught.value.hint
