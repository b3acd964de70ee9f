"""The one training loop: time-budgeted, resumable, validated, safetensors out.

The learning rate follows a cosine over the *budget* (seconds or steps, whichever is given), so that a run of
any length ends annealed. All randomness of step n comes from (seed, n): a resumed run is the same as one
without a stop. The folder holds ``model.safetensors`` (the best validation so far), ``history.json`` and,
while the run is unfinished, ``checkpoint.safetensors``.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from sepcli.atomic import make_folder, write_text, write_whole
from sepcli.catalog import storage as storages
from sepcli.catalog.card import DEFAULT_STORAGE, Storage
from sepcli.errors import InputError, SepError
from sepcli.protocols import ProgressCallback

CHECKPOINT = "checkpoint.safetensors"
"""Weights, optimizer and progress of an unfinished run: one file, which is there as a whole or not at all."""


class Task(Protocol):
    """A training task: a module, its loss on a random batch, and its loss on held-out data."""

    @property
    def model(self) -> nn.Module:
        """The module whose parameters are trained."""

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of a random batch, and figures to log."""

    def validate(self) -> dict[str, float]:
        """Return figures on fixed held-out data; ``loss`` is the one to minimise."""


@dataclass(frozen=True)
class LoopSettings:
    """Budget, learning rate and schedule of the training loop.

    Attributes:
        seconds: time budget of all runs together; None to count steps instead.
        steps: step budget; None to count seconds instead.
        learning_rate: peak of the schedule.
        warmup: steps of linear warm-up.
        weight_decay: AdamW's, on matrices only.
        clip: largest gradient norm.
        validations: how many validations over the budget.
        checkpoint_seconds: a checkpoint at least this often.
        seed: of all randomness.
        storage: of the weights that are kept.
        run: what determines the weights, ready for JSON; a checkpoint of another run is not continued.
    """

    seconds: float | None = 600.0
    steps: int | None = None
    learning_rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    validations: int = 10
    checkpoint_seconds: float = 60.0
    seed: int = 0
    storage: Storage = DEFAULT_STORAGE
    run: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """Settings that must match when a run is resumed; the budget may change."""
        return {**self.run, "seed": self.seed, "learning rate": self.learning_rate}


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


def train(
    task: Task,
    folder: Path,
    settings: LoopSettings,
    device: torch.device,
    resume: bool = False,
    on_progress: ProgressCallback | None = None,
    log: Callable[[dict[str, float]], None] | None = None,
    average: AveragedModel | None = None,
) -> Progress:
    """Train ``task.model`` until the budget is spent.

    Args:
        task: what to train.
        folder: gets ``model.safetensors`` (the best validated weights), history and checkpoint.
        settings: budget and rates.
        device: where the model is; autocast to bfloat16 on either kind.
        resume: continue from the folder's checkpoint if there is one.
        on_progress: called with (tenths of a per cent of the budget spent, 1000).
        log: called with the figures of every validation.
        average: the running mean of the weights of ``task.model``, which is saved instead of them; every step
            begins by adding the current weights.

    Raises:
        OutputError: the folder cannot be written.
        InputError: the checkpoint belongs to another network, or to a run on other data, for example.
        SepError: no validation gave a number.
    """
    make_folder(folder, "choose another folder", "out")
    run = _Run(task, _optimizer(task.model, settings), average, folder, settings, device)
    progress = _restore(run) if resume else Progress()
    progress.identity = settings.identity
    if not progress.step:
        _save(run, progress)  # from now on the folder holds an unfinished run
    saved = started = time.monotonic() - progress.elapsed
    while _spent(progress, settings) < 1.0:
        for key, value in _step(run, progress).items():
            progress.running.setdefault(key, []).append(value)
        progress.step += 1
        progress.elapsed = time.monotonic() - started
        spent = _spent(progress, settings)
        if on_progress:
            on_progress(min(1000, int(1000 * spent)), 1000)
        if spent >= 1.0 or spent * settings.validations >= progress.validated + 1:
            entry = _validate(run, progress)
            progress.elapsed = time.monotonic() - started
            missed = int(_spent(progress, settings) * settings.validations)  # while this one went on
            progress.validated = max(progress.validated, missed)
            if log:
                log(entry)
        if time.monotonic() - saved > settings.checkpoint_seconds:
            _save(run, progress)
            saved = time.monotonic()
    forget(folder)
    if not math.isfinite(progress.best):
        raise SepError(
            f"the training diverged at learning rate {settings.learning_rate:g}: no validation was finite",
            "choose a smaller learning rate",
            argument="learning_rate",
        )
    return progress


@dataclass(frozen=True)
class _Run:
    """State shared by the functions of the loop."""

    task: Task
    optimizer: torch.optim.AdamW
    average: AveragedModel | None
    folder: Path
    settings: LoopSettings
    device: torch.device

    @property
    def kept(self) -> nn.Module:
        """The network that is validated and kept."""
        return self.task.model if self.average is None else self.average.module

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint holds."""
        return {"model": self.task.model} | ({} if self.average is None else {"average": self.average})


def _spent(progress: Progress, settings: LoopSettings) -> float:
    pairs = ((progress.elapsed, settings.seconds), (progress.step, settings.steps))
    return max((done / budget for done, budget in pairs if budget is not None), default=0.0)


def _optimizer(model: nn.Module, settings: LoopSettings) -> torch.optim.AdamW:
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # not on every other kind, with every torch
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=fused)


def _step(run: _Run, progress: Progress) -> dict[str, float]:
    settings, task = run.settings, run.task
    rate = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * _spent(progress, settings)))
    for group in run.optimizer.param_groups:
        group["lr"] = rate * min(1.0, (progress.step + 1) / settings.warmup)
    if run.average is not None:
        run.average.update_parameters(task.model)
    with torch.autocast(run.device.type, torch.bfloat16):
        loss, figures = task.loss(np.random.default_rng([settings.seed, progress.step]))
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(task.model.parameters(), settings.clip)
    run.optimizer.step()
    return {"loss": float(loss.detach()), **figures}


def _validate(run: _Run, progress: Progress) -> dict[str, float]:
    run.kept.eval()
    with torch.inference_mode(), torch.autocast(run.device.type, torch.bfloat16):
        figures = run.task.validate()
    run.kept.train()
    progress.validated += 1
    entry = {"step": float(progress.step), "elapsed": round(progress.elapsed, 1)}
    entry |= {f"train_{key}": round(float(np.mean(values)), 4) for key, values in progress.running.items()}
    progress.running = {}
    entry |= {f"valid_{key}": round(value, 4) for key, value in figures.items()}
    progress.history.append(entry)
    if figures["loss"] < progress.best:
        progress.best, progress.best_step = figures["loss"], progress.step
        write_weights(run.kept, run.folder / "model.safetensors", run.settings.storage)
    write_text(run.folder / "history.json", json.dumps(progress.history, indent=1))
    return entry


def write_weights(model: nn.Module, path: Path, storage: Storage = DEFAULT_STORAGE) -> None:
    """Write a module as safetensors, parameters in a storage and buffers as they are, atomically.

    Own parameters of modules with a true attribute ``exact`` are not rounded either.
    """
    rounded = {
        f"{path}.{name}".removeprefix(".")
        for path, module in model.named_modules()
        if not getattr(module, "exact", False)
        for name, _ in module.named_parameters(recurse=False)
    }
    storages.write_weights(path, storages.pack(model.state_dict(), rounded, storage))


def _save(run: _Run, progress: Progress) -> None:
    tensors = {
        f"{part}.{name}": tensor.detach().cpu().contiguous()
        for part, module in run.modules.items()
        for name, tensor in module.state_dict().items()
    }
    for index, state in run.optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer.{index}.{name}": torch.as_tensor(value).cpu() for name, value in state.items()
        }
    write_tensors(run.folder / CHECKPOINT, tensors, {"progress": json.dumps(asdict(progress))})


def _restore(run: _Run) -> Progress:
    path = run.folder / CHECKPOINT
    if not path.exists():
        return Progress()
    started = "use the options that the run was started with, or overwrite it"
    try:
        with safe_open(path, "pt") as stored:
            progress = Progress(**json.loads(stored.metadata()["progress"]))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (it is no dict)
        for part, module in run.modules.items():
            start = f"{part}."
            named = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
            module.load_state_dict(named)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
        raise InputError(
            f"the checkpoint in {run.folder} does not fit this run", started, argument="resume"
        ) from error
    wanted = run.settings.identity
    if unlike := [key for key, value in wanted.items() if progress.identity.get(key) != value]:
        raise InputError(
            f"the checkpoint in {run.folder} is of a run with another {unlike[0]}", started, argument="resume"
        )
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensor
    run.optimizer.load_state_dict({**run.optimizer.state_dict(), "state": state})
    return progress


def forget(folder: Path) -> None:
    """Remove the checkpoint: it belongs to a run that is finished, or that is not to be continued."""
    (folder / CHECKPOINT).unlink(missing_ok=True)


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write safetensors, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    write_whole(path, save(tensors, metadata))  # save_file would keep others from reading
