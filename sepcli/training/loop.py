"""The one training loop: time-budgeted, resumable, validated, safetensors out.

The learning rate follows a cosine over the *budget* (seconds or steps, whichever is given), so that a run of
any length ends annealed. All randomness of step n comes from (seed, n): a resumed run is the same as one
without a stop, and so, but for rounding, is one that several processes share (see
``sepcli.training.distributed``). The folder holds ``model.safetensors`` (the best validation so far),
``history.jsonl`` and ``checkpoint.safetensors`` while the run is unfinished, ``finished.safetensors``
afterwards, from which a larger budget extends it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from sepcli.atomic import make_folder
from sepcli.catalog import storage as storages
from sepcli.catalog.card import DEFAULT_STORAGE, Storage
from sepcli.errors import InputError, SepError
from sepcli.protocols import ProgressCallback
from sepcli.training.adapters import whole_state
from sepcli.training.checkpoints import (
    CHECKPOINT,
    FINISHED,
    Progress,
    forget,
    restore,
    save_run,
    write_history,
)
from sepcli.training.distributed import ALONE, World
from sepcli.training.stopping import deferred
from sepcli.training.task import LoopSettings, Task, spent_share


def train(
    task: Task,
    folder: Path,
    settings: LoopSettings,
    device: torch.device,
    resume: bool = False,
    on_progress: ProgressCallback | None = None,
    log: Callable[[dict[str, float]], None] | None = None,
    average: AveragedModel | None = None,
    world: World = ALONE,
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
        world: the processes that train together, of which the first one writes.

    On Ctrl-C the step is finished and the checkpoint written; in a process that trains alone, a second one
    stops at once.

    Raises:
        OutputError: the folder cannot be written.
        InputError: the checkpoint belongs to another network, or to a run on other data, for example.
        SepError: no validation gave a number.
        KeyboardInterrupt: the run is stopped.
    """
    world.from_first(lambda: make_folder(folder, "choose another folder", "out"))
    run = _Run(task, _optimizer(task.model, settings), average, folder, settings, device, world)
    progress = _restored(run) if resume else Progress()
    world.copy_from_first(run.modules.values())
    progress.identity = settings.identity
    if not progress.step:
        world.from_first(lambda: _begin(run, progress))
    before = progress.step
    with deferred(patient=world.size > 1) as interrupted:
        _train(run, progress, interrupted, on_progress, log)
    world.from_first(lambda: _finish(run, progress, before))
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
    world: World

    @property
    def kept(self) -> nn.Module:
        """The network that is validated and kept."""
        return self.task.model if self.average is None else self.average.module

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint holds."""
        return {"model": self.task.model} | ({} if self.average is None else {"average": self.average})


def _restored(run: _Run) -> Progress:
    """Return the progress of the checkpoint that is resumed, with its state in modules and optimizer."""
    world = run.world
    progress = world.together(lambda: restore(run.folder, run.modules, run.optimizer, run.settings.identity))
    steps = world.gather(progress.step)
    world.from_first(lambda: _check_resumed(run, progress, steps))
    return progress


def _check_resumed(run: _Run, progress: Progress, steps: Sequence[int]) -> None:
    """Check a checkpoint against the budget, and the ``steps`` of it that the processes read.

    Raises:
        InputError: the budget is spent, and nothing was kept; or processes do not share the folder.
    """
    if len(set(steps)) > 1:
        raise InputError(
            f"processes read different checkpoints in {run.folder}: of {min(steps)} and {max(steps)} steps",
            "choose a folder that all machines share",
            argument="out",
        )
    if not progress.best_step and spent_share(progress, run.settings) >= 1.0:
        raise InputError(
            f"the checkpoint in {run.folder} is past this budget, and no weights of it are kept",
            "resume it with a larger budget, or overwrite it",
            argument="resume",
        )


def _begin(run: _Run, progress: Progress) -> None:
    """Mark the folder as that of an unfinished run."""
    save_run(run.folder, run.modules, run.optimizer, progress)
    (run.folder / FINISHED).unlink(missing_ok=True)


def _finish(run: _Run, progress: Progress, before: int) -> None:
    """Mark the folder as that of a finished run, which had taken ``before`` steps when it was resumed.

    Raises:
        SepError: no validation was finite.
    """
    folder, rate = run.folder, run.settings.learning_rate
    if not math.isfinite(progress.best):
        forget(folder)
        raise SepError(
            f"the training diverged at learning rate {rate:g}: no validation was finite",
            "choose a smaller learning rate",
            argument="learning_rate",
        )
    if progress.step > before or (folder / CHECKPOINT).exists() or not (folder / FINISHED).exists():
        save_run(folder, run.modules, run.optimizer, progress)
        (folder / CHECKPOINT).replace(folder / FINISHED)


def _train(
    run: _Run,
    progress: Progress,
    interrupted: Callable[[], bool],
    on_progress: ProgressCallback | None,
    log: Callable[[dict[str, float]], None] | None,
) -> None:
    """Train until the budget is spent, with validations and checkpoints."""
    settings, world = run.settings, run.world
    saved, started = progress.elapsed, time.monotonic() - progress.elapsed
    # fewer than before where the budget has grown
    progress.validated = min(progress.validated, int(spent_share(progress, settings) * settings.validations))
    while spent_share(progress, settings) < 1.0:
        for key, value in _step(run, progress).items():
            progress.running.setdefault(key, []).append(value)
        progress.step += 1
        progress.elapsed = time.monotonic() - started
        if on_progress:
            on_progress(min(1000, int(1000 * spent_share(progress, settings))), 1000)
        progress.elapsed, stopping = world.agree(progress.elapsed, interrupted())
        spent = spent_share(progress, settings)
        if spent >= 1.0 or spent * settings.validations >= progress.validated + 1:
            entry = _validate(run, progress)
            progress.elapsed, stopping = world.agree(time.monotonic() - started, interrupted())
            missed = int(spent_share(progress, settings) * settings.validations)  # while this one went on
            progress.validated = max(progress.validated, missed)
            if log:
                log(entry)
        if stopping or progress.elapsed - saved > settings.checkpoint_seconds:
            _average_figures(run, progress)
            world.from_first(lambda: save_run(run.folder, run.modules, run.optimizer, progress))
            saved = progress.elapsed
        if stopping:
            raise KeyboardInterrupt


def _average_figures(run: _Run, progress: Progress) -> None:
    """Replace the figures of every step since the last validation by their means over the processes."""
    parts = run.world.gather(progress.running)
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part.get(name, []) for part in parts]
        if len({len(each) for each in values}) == 1:
            progress.running[name] = [float(np.mean(step)) for step in zip(*values, strict=True)]
        else:  # a figure of items that not every share has
            progress.running[name] = [value for each in values for value in each]


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
    batch = run.world.share(task.sample(np.random.default_rng([settings.seed, progress.step])))
    batch = tuple(entry.to(run.device) if isinstance(entry, Tensor) else entry for entry in batch)
    with torch.autocast(run.device.type, torch.bfloat16):
        loss, figures = task.loss(*batch)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    run.world.average_gradients(task.model.parameters())
    nn.utils.clip_grad_norm_(task.model.parameters(), settings.clip)
    run.optimizer.step()
    return {"loss": float(loss.detach()), **figures}


def _validate(run: _Run, progress: Progress) -> dict[str, float]:
    """Validate in the first process, and add the figures to the history of all; return them."""
    world = run.world
    _average_figures(run, progress)
    figures = world.from_first(lambda: _figures(run))
    progress.validated += 1
    entry = {"step": float(progress.step), "elapsed": round(progress.elapsed, 1)}
    entry |= {"world_size": float(world.size)} if world.size > 1 else {}
    entry |= {f"train_{key}": round(float(np.mean(values)), 4) for key, values in progress.running.items()}
    progress.running = {}
    entry |= {f"valid_{key}": round(value, 4) for key, value in figures.items()}
    progress.history.append(entry)
    better = figures["loss"] < progress.best
    if better:
        progress.best, progress.best_step = figures["loss"], progress.step
    world.from_first(lambda: _write(run, progress, better))
    return entry


def _figures(run: _Run) -> dict[str, float]:
    run.kept.eval()
    with torch.no_grad(), torch.autocast(run.device.type, torch.bfloat16):
        figures = run.task.validate()
    run.kept.train()
    return figures


def _write(run: _Run, progress: Progress, weights: bool) -> None:
    if weights:
        write_weights(run.kept, run.folder / "model.safetensors", run.settings.storage)
    write_history(run.folder, progress.history)


def write_weights(model: nn.Module, path: Path, storage: Storage = DEFAULT_STORAGE) -> None:
    """Write a module as safetensors, parameters in a storage and buffers as they are, atomically.

    Own parameters of modules with a true attribute ``exact`` are not rounded either; of factors their product
    is written.
    """
    state, rounded = whole_state(model)
    storages.write_weights(path, storages.pack(state, rounded, storage))
