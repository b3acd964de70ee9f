"""Checkpoints of training: weights, optimizer and progress, to continue a run or to extend a finished one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sepcli.atomic import write_whole
from sepcli.errors import InputError

CHECKPOINT = "checkpoint.safetensors"
"""Weights, optimizer and progress of an unfinished run: one file, which is there as a whole or not at all."""
FINISHED = "finished.safetensors"
"""The last checkpoint of a finished run."""


STARTED = "use the options that the run was started with, or overwrite it"
UNREADABLE = (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError)
"""Exceptions for a checkpoint that cannot be read, or is of another network."""


@dataclass
class Progress:
    """The state of a run, stored with the weights in one checkpoint."""

    step: int = 0
    elapsed: float = 0.0
    validated: int = 0
    best: float = math.inf
    best_step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    running: dict[str, list[float]] = field(default_factory=dict)
    """Figures of the steps since the last validation."""
    identity: dict[str, Any] = field(default_factory=dict)
    """That of the settings."""


def save_run(
    folder: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write the checkpoint of an unfinished run.

    Raises:
        OutputError: it cannot be written.
    """
    tensors = {
        f"{part}.{name}": tensor.detach().cpu().contiguous()
        for part, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer.{index}.{name}": torch.as_tensor(value).cpu() for name, value in state.items()
        }
    write_tensors(folder / CHECKPOINT, tensors, {"progress": json.dumps(asdict(progress))})


def restore(
    folder: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    identity: Mapping[str, Any],
) -> Progress:
    """Load modules and optimizer from the checkpoint of an unfinished run, else of a finished one, if any.

    Raises:
        InputError: the checkpoint is damaged, of another network, or of a run with another ``identity``.
    """
    paths = [path for name in (CHECKPOINT, FINISHED) if (path := folder / name).exists()]
    if not paths:
        return Progress()
    try:
        with safe_open(paths[0], "pt") as stored:
            progress = Progress(**json.loads(stored.metadata()["progress"]))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (it is no dict)
        for part, module in modules.items():
            start = f"{part}."
            named = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
            module.load_state_dict(named)
    except UNREADABLE as error:
        raise _unfit(folder) from error
    check_identity(progress, identity, folder)
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return progress


def finished(folder: Path) -> Progress | None:
    """Return the progress of a finished run; None if there is none that can be extended.

    Raises:
        InputError: its checkpoint cannot be read.
    """
    if (folder / CHECKPOINT).exists() or not (folder / FINISHED).exists():
        return None
    try:
        with safe_open(folder / FINISHED, "pt") as stored:
            return Progress(**json.loads(stored.metadata()["progress"]))
    except UNREADABLE as error:
        raise _unfit(folder) from error


def check_identity(progress: Progress, wanted: Mapping[str, Any], folder: Path) -> None:
    """Refuse to continue a run with other settings.

    Raises:
        InputError: a setting of ``wanted`` differs.
    """
    if unlike := [key for key, value in wanted.items() if progress.identity.get(key) != value]:
        raise InputError(
            f"the checkpoint in {folder} is of a run with another {unlike[0]}", STARTED, argument="resume"
        )


def _unfit(folder: Path) -> InputError:
    return InputError(f"the checkpoint in {folder} does not fit this run", STARTED, argument="resume")


def forget(folder: Path) -> None:
    """Remove the checkpoints: they belong to a run that is not to be continued."""
    for name in (CHECKPOINT, FINISHED):
        (folder / name).unlink(missing_ok=True)


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write safetensors, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    write_whole(path, save(tensors, metadata))  # save_file would keep others from reading
