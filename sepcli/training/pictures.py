"""From a request to a finished prior of pictures: data, network, training, config and card."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sepcli.catalog import card as cards
from sepcli.datasets.idx import Digits, open_digits
from sepcli.errors import UsageError
from sepcli.priors.denoiser import DenoiserConfig, DenoiserPrior
from sepcli.protocols import OnStep
from sepcli.training.denoiser import DENOISER_PRESETS, Averaged, DenoiserTask, keep_mean
from sepcli.training.loop import Progress, train, write_text
from sepcli.training.request import Request, training_entry

PRESETS = {"denoiser": DENOISER_PRESETS}
"""Family → its sizes."""
HELD_OUT = 1000
"""Training pictures, the last ones, that are kept for validation; at most a tenth of all."""


def run(
    request: Request,
    folder: Path,
    on_step: OnStep | None = None,
    log: Callable[[dict[str, float]], None] | None = None,
) -> Progress:
    """Train a denoiser on MNIST's training pictures into ``folder``, a part of the prior's folder.

    Raises:
        UsageError: unknown preset.
        OutputError: the folder cannot be written.
        InputError: the data cannot be read, or the checkpoint is of another network.
    """
    digits = open_digits(request.data, "train")
    task, config = _task(request, digits)
    task.model.train()
    progress = train(task, folder, request.loop, request.device, request.resume, on_step, log)
    keep_mean(folder / "model.safetensors")
    write_text(folder / "config.json", json.dumps(asdict(config), indent=1))
    card = cards.Card(
        name=request.out.resolve().name,
        family=cards.PICTURES,
        sources=request.sources,
        weights=request.weights,
        sample_rate=0,
        data=request.data_note,
        training={folder.name: {**training_entry(request, progress), **_learnt(task)}},
    )
    cards.write(cards.with_files(card, request.out), request.out)
    return progress


def _learnt(task: DenoiserTask) -> dict[str, Any]:
    return {"pictures": len(task.train.images), "classes": list(task.model.live.config.classes)}


def _task(request: Request, digits: Digits) -> tuple[DenoiserTask, DenoiserConfig]:
    presets = PRESETS[request.family]
    if request.preset not in presets:
        raise UsageError(f"unknown preset '{request.preset}'", f"one of: {', '.join(presets)}")
    held_out = max(1, min(HELD_OUT, len(digits.images) // 10))
    train_on = digits.only(slice(None, -held_out)) if held_out < len(digits.images) else digits
    config = DenoiserConfig(
        size=digits.images.shape[1:],
        classes=request.classes,
        unlabelled=request.unlabelled,
        data_mean=float(train_on.images.mean() / 255),
        data_std=float(train_on.images.std() / 255) or 1.0,
        **presets[request.preset],  # type: ignore[arg-type]
    )
    with torch.random.fork_rng(devices=[]):  # networks draw their first weights from torch's own stream
        torch.manual_seed(request.loop.seed)
        model = Averaged(DenoiserPrior(config)).to(request.device)
    return DenoiserTask(model, train_on, digits.only(slice(-held_out, None)), request.batch), config
