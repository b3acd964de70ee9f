"""The one training loop: time-budgeted, resumable, validated, safetensors out.

The learning rate follows a cosine over the *budget* (seconds or steps, whichever is given), so that a run of
any length ends annealed. All randomness of step n comes from (seed, n): a run that was stopped and resumed
continues as if it had not been. The folder holds ``model.safetensors`` (the best validation so far),
``history.json`` and, while the run is unfinished, ``checkpoint.safetensors``.
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

from sepcli.atomic import write_whole
from sepcli.errors import InputError, OutputError, SepError
from sepcli.protocols import ProgressCallback

CHECKPOINT = "checkpoint.safetensors"
"""Weights, optimizer and progress of an unfinished run: one file, which is there as a whole or not at all."""


class Task(Protocol):
    """What is trained: a module, its loss on a fresh random batch, and its figure on held-out data."""

    @property
    def model(self) -> nn.Module:
        """The module whose parameters are trained."""
        ...

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss () of a random batch, and figures to log."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures on fixed held-out data; ``score`` is the one to minimise."""
        ...


@dataclass(frozen=True)
class LoopSettings:
    """How long and how fast.

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
        run: what is trained and on what, as JSON has it; a checkpoint of another run is not continued.
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
    run: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """What a run may not be continued with another one of; its budget may change."""
        return {**self.run, "seed": self.seed, "learning rate": self.learning_rate}


@dataclass
class Progress:
    """Where a run stands; stored in the checkpoint, so that weights and step are always of one moment."""

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
) -> Progress:
    """Train ``task.model`` until the budget is spent; the best validated weights are in
    ``folder/model.safetensors``.

    Args:
        task: what to train.
        folder: where weights, history and checkpoint go; created if missing.
        settings: budget and rates.
        device: where the model is; autocast to bfloat16 on either kind.
        resume: continue from the folder's checkpoint if there is one.
        on_progress: told (tenths of a per cent of the budget spent, 1000).
        log: told the figures of every validation.

    Raises:
        OutputError: the folder cannot be written.
        InputError: the checkpoint belongs to another network, or to a run on other data, for example.
        SepError: no validation gave a number.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}", "choose another --out folder"
        ) from error
    optimizer = _optimizer(task.model, settings)
    if not resume:
        forget(folder)
    progress = _restore(task.model, optimizer, folder, settings) if resume else Progress()
    progress.identity = settings.identity
    if not progress.step:
        _save(task.model, optimizer, progress, folder)  # from now on the folder holds an unfinished run
    saved = started = time.monotonic() - progress.elapsed
    while (spent := _spent(progress, settings)) < 1.0:
        rate = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * spent))
        figures = _step(
            task,
            optimizer,
            rate * min(1.0, (progress.step + 1) / settings.warmup),
            settings,
            progress.step,
            device,
        )
        for key, value in figures.items():
            progress.running.setdefault(key, []).append(value)
        progress.step += 1
        progress.elapsed = time.monotonic() - started
        spent = _spent(progress, settings)
        if on_progress:
            on_progress(min(1000, int(1000 * spent)), 1000)
        if spent >= 1.0 or spent * settings.validations >= progress.validated + 1:
            entry = _validate(task, folder, progress, device)
            progress.elapsed = time.monotonic() - started
            missed = int(_spent(progress, settings) * settings.validations)  # while this one went on
            progress.validated = max(progress.validated, missed)
            if log:
                log(entry)
        if time.monotonic() - saved > settings.checkpoint_seconds:
            _save(task.model, optimizer, progress, folder)
            saved = time.monotonic()
    forget(folder)
    if not math.isfinite(progress.best):
        raise SepError(
            "the training diverged: no validation gave a finite score", "try a smaller --learning-rate"
        )
    return progress


def _spent(progress: Progress, settings: LoopSettings) -> float:
    parts = [0.0]
    if settings.seconds is not None:
        parts.append(progress.elapsed / settings.seconds)
    if settings.steps is not None:
        parts.append(progress.step / settings.steps)
    return max(parts)


def _optimizer(model: nn.Module, settings: LoopSettings) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    # not on every other kind, with every torch
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=fused)


def _step(
    task: Task,
    optimizer: torch.optim.AdamW,
    rate: float,
    settings: LoopSettings,
    step: int,
    device: torch.device,
) -> dict[str, float]:
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(device.type, torch.bfloat16):
        loss, figures = task.loss(np.random.default_rng([settings.seed, step]))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(task.model.parameters(), settings.clip)
    optimizer.step()
    return {"loss": float(loss.detach()), **figures}


def _validate(
    task: Task,
    folder: Path,
    progress: Progress,
    device: torch.device,
) -> dict[str, float]:
    task.model.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        figures = task.validate()
    task.model.train()
    progress.validated += 1
    entry = {"step": float(progress.step), "elapsed": round(progress.elapsed, 1)}
    entry |= {f"train_{key}": round(float(np.mean(values)), 4) for key, values in progress.running.items()}
    progress.running = {}
    entry |= {f"valid_{key}": round(value, 4) for key, value in figures.items()}
    progress.history.append(entry)
    if figures["score"] < progress.best:
        progress.best, progress.best_step = figures["score"], progress.step
        write_weights(task.model, folder / "model.safetensors")
    write_text(folder / "history.json", json.dumps(progress.history, indent=1))
    return entry


def write_weights(model: nn.Module, path: Path) -> None:
    """Write a module as safetensors, parameters in bfloat16 and buffers as they are, atomically.

    Own parameters of modules with a true attribute ``exact`` are not rounded either.

    Raises:
        OutputError: the place cannot be written.
    """
    rounded = {
        f"{path}.{name}".removeprefix(".")
        for path, module in model.named_modules()
        if not getattr(module, "exact", False)
        for name, _ in module.named_parameters(recurse=False)
    }
    tensors = {
        name: (tensor.to(torch.bfloat16) if name in rounded else tensor).detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    write_tensors(path, tensors)


def _save(model: nn.Module, optimizer: torch.optim.AdamW, progress: Progress, folder: Path) -> None:
    tensors = {
        f"model.{name}": tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer.{index}.{name}": torch.as_tensor(value).cpu() for name, value in state.items()
        }
    write_tensors(folder / CHECKPOINT, tensors, {"progress": json.dumps(asdict(progress))})


def _restore(
    model: nn.Module, optimizer: torch.optim.AdamW, folder: Path, settings: LoopSettings
) -> Progress:
    if not (folder / CHECKPOINT).exists():
        return Progress()
    try:
        with safe_open(folder / CHECKPOINT, "pt") as stored:
            progress = Progress(**json.loads(stored.metadata()["progress"]))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (it is no dict)
        model.load_state_dict({name[6:]: t for name, t in tensors.items() if name.startswith("model.")})
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
        raise InputError(
            f"the checkpoint in {folder} does not fit this run",
            "use the options it was started with, or --overwrite",
        ) from error
    unlike = [key for key, value in settings.identity.items() if progress.identity.get(key) != value]
    if unlike:
        raise InputError(
            f"the checkpoint in {folder} is of a run with another {unlike[0]}",
            "use the options it was started with, or --overwrite",
        )
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return progress


def forget(folder: Path) -> None:
    """Remove the checkpoint: it belongs to a run that is finished, or that is not to be continued."""
    (folder / CHECKPOINT).unlink(missing_ok=True)


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write safetensors, atomically.

    Raises:
        OutputError: the place cannot be written.
    """
    write_whole(path, save(tensors, metadata))  # save_file would keep others from reading


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically.

    Raises:
        OutputError: the place cannot be written.
    """
    write_whole(path, text.encode())
