"""The one training loop: time-budgeted, resumable, validated, safetensors out.

The learning rate follows a cosine over the *budget* (seconds or steps, whichever is given), so that a run of
any length ends annealed. All randomness of step n comes from (seed, n): a resumed run is the same as one
without a stop. The folder holds ``model.safetensors`` (the best validation so far), ``history.json`` and
``checkpoint.safetensors`` while the run is unfinished, ``finished.safetensors`` afterwards, from which a
larger budget extends it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from sepcli.atomic import make_folder, write_text
from sepcli.catalog import storage as storages
from sepcli.catalog.card import DEFAULT_STORAGE, Storage
from sepcli.errors import InputError, SepError
from sepcli.protocols import ProgressCallback
from sepcli.training.checkpoints import CHECKPOINT, FINISHED, Progress, forget, restore, save_run
from sepcli.training.stopping import deferred

Batch = tuple[Any, ...]
"""What a step computes its loss from: arrays and tensors have a row per item; all else is of all items."""


class Task(Protocol):
    """A training task: a module, its loss on a random batch, and its loss on held-out data."""

    @property
    def model(self) -> nn.Module:
        """The module whose parameters are trained."""

    def sample(self, rng: np.random.Generator) -> Batch:
        """Sample the items of a step and all random numbers of their loss, on the CPU."""

    def loss(self, *batch: Any) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss () of a batch on the model's device, and figures to log."""

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
        resume: continue from the folder's checkpoint if there is one; a finished run is extended.
        on_progress: called with (tenths of a per cent of the budget spent, 1000).
        log: called with the figures of every validation.
        average: the running mean of the weights of ``task.model``, which is saved instead of them; every step
            begins by adding the current weights.

    On Ctrl-C the step is finished and the checkpoint written; a second one stops at once.

    Raises:
        OutputError: the folder cannot be written.
        InputError: the checkpoint belongs to another network, or to a run on other data, for example.
        SepError: no validation gave a number.
        KeyboardInterrupt: the run is stopped.
    """
    make_folder(folder, "choose another folder", "out")
    run = _Run(task, _optimizer(task.model, settings), average, folder, settings, device)
    progress = restore(run.folder, run.modules, run.optimizer, settings.identity) if resume else Progress()
    if not progress.best_step and spent_share(progress, settings) >= 1.0:
        raise InputError(
            f"the checkpoint in {folder} is past this budget, and no weights of it are kept",
            "resume it with a larger budget, or overwrite it",
            argument="resume",
        )
    progress.identity = settings.identity
    if not progress.step:
        save_run(
            run.folder, run.modules, run.optimizer, progress
        )  # from now on the folder holds an unfinished run
        (folder / FINISHED).unlink(missing_ok=True)
    before = progress.step
    with deferred() as interrupted:
        _train(run, progress, interrupted, on_progress, log)
    if not math.isfinite(progress.best):
        forget(folder)
        raise SepError(
            f"the training diverged at learning rate {settings.learning_rate:g}: no validation was finite",
            "choose a smaller learning rate",
            argument="learning_rate",
        )
    if progress.step > before or (folder / CHECKPOINT).exists() or not (folder / FINISHED).exists():
        save_run(run.folder, run.modules, run.optimizer, progress)
        (folder / CHECKPOINT).replace(folder / FINISHED)
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


def _train(
    run: _Run,
    progress: Progress,
    interrupted: Callable[[], bool],
    on_progress: ProgressCallback | None,
    log: Callable[[dict[str, float]], None] | None,
) -> None:
    """Train until the budget is spent, with validations and checkpoints."""
    settings = run.settings
    saved = started = time.monotonic() - progress.elapsed
    # fewer than before where the budget has grown
    progress.validated = min(progress.validated, int(spent_share(progress, settings) * settings.validations))
    while spent_share(progress, settings) < 1.0:
        for key, value in _step(run, progress).items():
            progress.running.setdefault(key, []).append(value)
        progress.step += 1
        progress.elapsed = time.monotonic() - started
        spent = spent_share(progress, settings)
        if on_progress:
            on_progress(min(1000, int(1000 * spent)), 1000)
        if spent >= 1.0 or spent * settings.validations >= progress.validated + 1:
            entry = _validate(run, progress)
            progress.elapsed = time.monotonic() - started
            missed = int(spent_share(progress, settings) * settings.validations)  # while this one went on
            progress.validated = max(progress.validated, missed)
            if log:
                log(entry)
        if interrupted() or time.monotonic() - saved > settings.checkpoint_seconds:
            save_run(run.folder, run.modules, run.optimizer, progress)
            saved = time.monotonic()
        if interrupted():
            raise KeyboardInterrupt


def spent_share(progress: Progress, settings: LoopSettings) -> float:
    """Return the share of the budget that is spent, 1 or more when the run is finished."""
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
    rate = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * spent_share(progress, settings)))
    for group in run.optimizer.param_groups:
        group["lr"] = rate * min(1.0, (progress.step + 1) / settings.warmup)
    if run.average is not None:
        run.average.update_parameters(task.model)
    batch = _on(run.device, task.sample(np.random.default_rng([settings.seed, progress.step])))
    with torch.autocast(run.device.type, torch.bfloat16):
        loss, figures = task.loss(*batch)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(task.model.parameters(), settings.clip)
    run.optimizer.step()
    return {"loss": float(loss.detach()), **figures}


def _on(device: torch.device, batch: Batch) -> Batch:
    return tuple(entry.to(device) if isinstance(entry, Tensor) else entry for entry in batch)


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
