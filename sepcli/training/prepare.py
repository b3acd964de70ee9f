"""From a request to a finished part of a prior's folder: network, training, config and card."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sepcli.catalog import card as cards
from sepcli.catalog.build import load_codec
from sepcli.codecs.vqvae1d import Vqvae1d, Vqvae1dConfig
from sepcli.datasets.slakh import open_slakh
from sepcli.errors import OutputError, UsageError
from sepcli.priors.transformer import TransformerConfig, TransformerPrior
from sepcli.protocols import OnStep
from sepcli.training.lass import CODEC_PRESETS, PRIOR_PRESETS, CodecTask, PriorTask
from sepcli.training.loop import LoopSettings, Progress, Task, train

FAMILIES = ("vqvae", "transformer")
PARTS = {"vqvae": "codec", "transformer": "prior"}
"""The folder, inside a prior's folder, that each family writes."""


@dataclass(frozen=True)
class Request:
    """What to train.

    Attributes:
        family: one of ``FAMILIES``.
        data: folder of the data set (Slakh2100's layout).
        out: the prior's folder.
        preset: sizes, a key of the family's presets.
        sources: instrument classes.
        weights: α_k of the mixing.
        batch: items per step.
        tokens: tokens per item.
        cache: folder for decoded recordings.
        loop: budget and rates.
        device: where to train.
        resume: continue an unfinished run.
        overwrite: replace a finished one.
        command: how the run was called, for the card.
        data_note: a sentence on the data, for the card.
    """

    family: str
    data: Path
    out: Path
    preset: str
    sources: tuple[str, ...]
    weights: tuple[float, ...]
    batch: int
    tokens: int
    cache: Path | None
    loop: LoopSettings
    device: torch.device
    resume: bool = False
    overwrite: bool = False
    command: str = ""
    data_note: str = ""


def run(
    request: Request, on_step: OnStep | None = None, log: Callable[[dict[str, float]], None] | None = None
) -> Progress:
    """Train what is asked for and leave ``model.safetensors``, ``config.json`` and an updated ``card.toml``.

    Raises:
        UsageError: unknown family or preset.
        OutputError: there is something there already and neither resume nor overwrite was asked for.
        InputError: the data cannot be read.
        PriorError: a transformer is asked for before its codec exists.
    """
    if request.family not in FAMILIES:
        raise UsageError(f"unknown family '{request.family}'", f"one of: {', '.join(FAMILIES)}")
    folder = request.out / PARTS[request.family]
    _check_free(folder, request)
    banks = [
        open_slakh(request.data, split, request.sources, request_rate(request), request.cache)
        for split in ("train", "validation")
    ]
    task, config = _task(request, banks[0], banks[1])
    task.model.train()
    progress = train(task, folder, request.loop, request.device, request.resume, on_step, log)
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    _update_card(request, progress, banks[0].seconds)
    return progress


def request_rate(request: Request) -> int:
    """The sample rate of the codec, in Hz."""
    return (
        load_codec(request.out)[0].config.sample_rate
        if request.family == "transformer"
        else Vqvae1dConfig().sample_rate
    )


def _check_free(folder: Path, request: Request) -> None:
    unfinished = (folder / "checkpoint.json").exists()
    if unfinished and not (request.resume or request.overwrite):
        raise OutputError(
            f"{folder} holds an unfinished run", "continue it with --resume, or replace it with --overwrite"
        )
    if (folder / "config.json").exists() and not (request.overwrite or unfinished):
        raise OutputError(
            f"{folder} holds a finished part", "choose another --out folder, or replace it with --overwrite"
        )


def _task(request: Request, bank: Any, held_out: Any) -> tuple[Task, dict[str, Any]]:
    presets: Mapping[str, Mapping[str, Any]] = CODEC_PRESETS if request.family == "vqvae" else PRIOR_PRESETS
    if request.preset not in presets:
        raise UsageError(f"unknown preset '{request.preset}'", f"one of: {', '.join(presets)}")
    torch.manual_seed(request.loop.seed)
    if request.family == "vqvae":
        codec_config = Vqvae1dConfig(**presets[request.preset])
        codec = Vqvae1d(codec_config).to(request.device)
        return CodecTask(codec, bank, held_out, request.weights, request.batch, request.tokens), asdict(
            codec_config
        )
    trained, _ = load_codec(request.out)
    config = TransformerConfig(trained.vocabulary, request.sources, **presets[request.preset])
    prior = TransformerPrior(config).to(request.device)
    return PriorTask(
        prior, trained.to(request.device), bank, held_out, request.batch, request.tokens
    ), asdict(config)


def _update_card(request: Request, progress: Progress, seconds: tuple[float, ...]) -> None:
    exists = (request.out / "card.toml").exists()
    card = (
        cards.read(request.out)
        if exists
        else cards.Card(
            name=request.out.resolve().name,
            family="lass",
            sources=request.sources,
            weights=request.weights,
            sample_rate=request_rate(request),
        )
    )
    last = progress.history[-1] if progress.history else {}
    entry = {
        "command": request.command,
        "preset": request.preset,
        "steps": progress.step,
        "seconds": round(progress.elapsed),
        "device": f"{request.device.type}, {torch.get_num_threads()} threads, {platform.machine()}",
        "torch": torch.__version__.split("+")[0],
        "best_step": progress.best_step,
        "hours_of_data": {name: round(s / 3600, 2) for name, s in zip(request.sources, seconds, strict=True)},
        "validation": {
            key[6:]: value for key, value in last.items() if key.startswith("valid_") and key != "valid_score"
        },
    }
    card = replace(
        card, data=request.data_note or card.data, training={**card.training, PARTS[request.family]: entry}
    )
    cards.write(cards.with_files(card, request.out), request.out)
