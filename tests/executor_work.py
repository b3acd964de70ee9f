"""What the workers of the tests of executors do; other processes import it by this name."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sepcli.errors import InputError, UsageError
from sepcli.separation.executor import OnPart


def state_of(folder: Path, device: str) -> Mapping[str, Any]:
    """Note that a worker has been set up."""
    with (folder / "setups").open("a") as file:
        file.write(f"{device}\n")
    return {"folder": folder, "device": device}


def square(state: Mapping[str, Any], number: int, on_part: OnPart) -> int:
    """The square; of -1 and -2 errors; 13 kills its worker always, 12 the first time."""
    on_part(1, 2)
    if number == -1:
        raise InputError("minus one", "give another", argument="number")
    if number == -2:
        raise ZeroDivisionError("minus two")
    mark = state["folder"] / f"killed {number}"
    if number == 13 or (number == 12 and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def refuse(device: str) -> None:
    """A setup that fails."""
    raise UsageError(f"no {device} here", "use another")


def die(device: str) -> None:
    """A setup that no worker survives."""
    os.kill(os.getpid(), signal.SIGKILL)


def threads_of(state: Mapping[str, Any], item: int, on_part: OnPart) -> tuple[int, str]:
    """The threads that the libraries of a worker compute with."""
    import torch

    return torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]


def setup_in(folder: Path) -> partial[Mapping[str, Any]]:
    """A setup that notes in a folder what it was called with."""
    return partial(state_of, folder)
