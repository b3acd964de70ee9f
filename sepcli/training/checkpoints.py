"""Checkpoints of training: weights, optimizer and progress, to continue a run or to extend a finished one."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from sepcli.atomic import write_text, write_whole
from sepcli.catalog.storage import read_tensors
from sepcli.errors import InputError

CHECKPOINT = "checkpoint.safetensors"
"""Weights, optimizer and progress of an unfinished run: one file, which is there as a whole or not at all."""
FINISHED = "finished.safetensors"
"""The last checkpoint of a finished run."""


STARTED = "use the options that the run was started with, or overwrite it"
WEIGHTS = "model.safetensors"
"""The best weights so far, beside the checkpoint."""
HISTORY = "history.jsonl"
"""The figures of every validation, a line of JSON each."""
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""State of AdamW for every parameter."""
LONGEST = 1e12
"""Steps or seconds of no run."""
UNREADABLE = (OSError, ValueError, RuntimeError, TypeError, LookupError, SafetensorError)
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

    All of it is checked before any of them is changed.

    Raises:
        InputError: the checkpoint is damaged, of another network, or of a run with another ``identity``.
    """
    paths = [path for name in (CHECKPOINT, FINISHED) if (path := folder / name).exists()]
    if not paths:
        return Progress()
    try:
        tensors, metadata = read_tensors(paths[0])
        progress = progress_of(json.loads(metadata["progress"]))
    except UNREADABLE as error:
        raise _unfit(folder) from error
    check_identity(progress, identity, folder)
    try:
        named = {part: _tensors_of(part, tensors, module) for part, module in modules.items()}
        state = _optimizer_state(tensors, optimizer)
        if progress.best_step and not (folder / WEIGHTS).is_file():
            raise ValueError("the best weights are gone")
    except UNREADABLE as error:
        raise _unfit(folder) from error
    for part, module in modules.items():
        module.load_state_dict(named[part])
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
        return progress_of(json.loads(read_tensors(folder / FINISHED)[1]["progress"]))
    except UNREADABLE as error:
        raise _unfit(folder) from error


def progress_of(fields: dict[str, Any]) -> Progress:
    """Return the progress that a checkpoint states.

    Args:
        fields: those of ``Progress``, from JSON.

    Raises:
        ValueError: a field is missing or unknown, or a number negative, not finite or of another type.
    """
    progress = msgspec.convert(fields, Progress)
    numbers = (progress.elapsed, progress.step, progress.validated, progress.best_step)
    if len(fields) != len(asdict(progress)) or not all(0 <= number < LONGEST for number in numbers):
        raise ValueError("progress")
    if any("step" not in entry for entry in progress.history):
        raise ValueError("history")
    if progress.best_step > progress.step or math.isfinite(progress.best) != bool(progress.best_step):
        raise ValueError("best")
    return progress


def _tensors_of(part: str, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Return a module's tensors of a checkpoint; ValueError unless names, shapes and types are its own."""
    named = {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}
    own = {name: (tensor.shape, tensor.dtype) for name, tensor in module.state_dict().items()}
    if {name: (tensor.shape, tensor.dtype) for name, tensor in named.items()} != own:
        raise ValueError(part)
    return named


def _optimizer_state(
    tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> dict[int, dict[str, Tensor]]:
    """Return the optimizer's state by parameter; ValueError unless it is one of these parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            shape = torch.Size() if key == "step" else parameters[int(index)].shape
            if key not in MOMENTS or tensor.shape != shape or int(index) < 0:
                raise ValueError(name)
            state.setdefault(int(index), {})[key] = tensor
    if any(len(entries) != len(MOMENTS) for entries in state.values()):
        raise ValueError("optimizer")
    return state


def check_identity(progress: Progress, wanted: Mapping[str, Any], folder: Path) -> None:
    """Refuse to continue a run with other settings.

    A setting that the run does not state is off: of an option that is newer than the run. Folders may be
    written in several ways, as in ``first`` and ``./first/``.

    Raises:
        InputError: a setting of ``wanted`` differs.
    """
    stated = progress.identity
    if unlike := [
        key
        for key, value in wanted.items()
        if (key in stated or value) and _normal(stated.get(key)) != _normal(value)
    ]:
        raise InputError(
            f"the checkpoint in {folder} is of a run with another {unlike[0]}", STARTED, argument="resume"
        )


def _normal(value: Any) -> Any:
    """Return a setting with every text as the shortest path that is written so."""
    if isinstance(value, list | tuple):
        return [_normal(entry) for entry in value]
    return os.path.normpath(value) if isinstance(value, str) else value


def _unfit(folder: Path) -> InputError:
    return InputError(f"the checkpoint in {folder} does not fit this run", STARTED, argument="resume")


def forget(folder: Path) -> None:
    """Remove the checkpoints: they belong to a run that is not to be continued."""
    for name in (CHECKPOINT, FINISHED):
        (folder / name).unlink(missing_ok=True)


def write_history(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write the figures of the validations so far, atomically.

    Raises:
        OutputError: they cannot be written.
    """
    write_text(folder / HISTORY, "".join(f"{json.dumps(entry)}\n" for entry in history))


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write safetensors, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    write_whole(path, save(tensors, metadata))  # save_file would keep others from reading
