"""Starts processes that train together, as ``torchrun`` does, on the CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
TRAIN = ("-m", "sepcli", "train-prior")
LONGEST = 240.0
"""Seconds after which a test has failed, on a busy machine, too."""


def environment(**more: str) -> Mapping[str, str]:
    """The variables of such processes: this package and one thread each."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **more}


def command(*words: object, processes: int = 2) -> list[str]:
    """The command that starts processes: a program or ``-m MODULE``, and its arguments."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, f"--nproc_per_node={processes}", *map(str, words)]


def torchrun(*words: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """What processes print together until all have ended."""
    return subprocess.run(
        command(*words, processes=processes),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )


@contextmanager
def running(*words: object, ready: Path) -> Iterator[subprocess.Popen[str]]:
    """Processes that train, from when the file ``ready`` is there; none is left at the end."""
    process = subprocess.Popen(
        command(*words), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(ready.exists, process)
        yield process
    finally:
        for one in [*workers(process), process]:
            if one.poll() is None if isinstance(one, subprocess.Popen) else one.is_running():
                one.send_signal(signal.SIGKILL)
        process.communicate()


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that a launcher has started, by rank."""
    try:
        return sorted(psutil.Process(process.pid).children(), key=lambda worker: worker.pid)
    except psutil.NoSuchProcess:
        return []


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something has happened while a process goes on."""
    end = time.monotonic() + LONGEST
    while not happened():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)
