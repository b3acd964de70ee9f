"""From a request to a finished prior of images: data, network, training, config and card."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.datasets.image_folder import LabelledImages
from sepcli.datasets.image_splits import measure, open_data
from sepcli.errors import OutputError, PriorError, UsageError
from sepcli.priors.images.denoiser import DenoiserConfig, DenoiserPrior
from sepcli.priors.images.glow import GlowConfig, GlowPrior, fitting_scales, negative_log_likelihood
from sepcli.priors.images.load_score import load_image_prior
from sepcli.priors.images.ncsn import NcsnConfig, NcsnPrior
from sepcli.priors.images.previews import draw_images, save_sheet
from sepcli.priors.images.train_task import (
    DENOISER_PRESETS,
    GLOW_PRESETS,
    NCSN_PRESETS,
    Averaged,
    DenoiserTask,
    Trainable,
    keep_ema,
    to_float_images,
)
from sepcli.protocols import ProgressCallback
from sepcli.training.config import Request, history_of, training_entry
from sepcli.training.loop import Progress, train, write_text

PRESETS = {"denoiser": DENOISER_PRESETS, "ncsn": NCSN_PRESETS, "glow": GLOW_PRESETS}
"""Family → its sizes."""
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "ncsn": {"sampler": "langevin"},
    "glow": {"sampler": "langevin"},
}
"""Family → what its card says of separating: these know the noise of Langevin dynamics only."""
SAMPLES = "samples.png"
"""The file, in a prior's folder, of draws from a flow."""
EXAMPLES = 256
"""Images that a flow begins with unit variance on."""
NOISE = {1: (-1.2, 1.4), 3: (-0.8, 1.7)}
"""Channels → mean and standard deviation of ln σ in a denoiser's training.

Colorization begins at σ = 20 or above, for noise of σ is noise of σ/√n in the mean color of n pixels: ln 0.01
and ln 20 are 2.2 standard deviations to either side of -0.8, and two thirds of all levels are between 0.1 and
3, where contents are decided.
"""


def run(
    request: Request,
    folder: Path,
    on_progress: ProgressCallback | None = None,
    log: Callable[[dict[str, float]], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Progress:
    """Train on MNIST's training images, or on a folder of images, into ``folder``, a part of the prior's.

    A flow leaves draws beside it, ``SAMPLES``.

    Args:
        request: what to train.
        folder: where.
        on_progress: told about progress, first of reading the images.
        log: told the figures of every validation.
        tell: told in words what is worth knowing of the data.

    Raises:
        UsageError: unknown preset, or an option that is not for these data.
        OutputError: the folder or the cache cannot be written, or the prior has another part.
        InputError: the data cannot be read, or the checkpoint is of another network.
    """
    check(request)
    check_alone(folder)
    learn, held_out = open_data(request, on_progress, tell)
    with torch.random.fork_rng(devices=[]):  # networks draw their first weights from torch's own stream
        torch.manual_seed(request.loop.seed)
        network = _network(request, learn)
    if request.init is not None:
        _start_from(network, request.init)
    task = task_of(network, request, learn, held_out)
    progress = train(task, folder, request.loop, request.device, request.resume, on_progress, log)
    keep_ema(folder / "model.safetensors")
    write_text(folder / "config.json", json.dumps(asdict(network.config), indent=1))
    entry = {**training_entry(request, progress), **of_data(request, folder, learn, held_out)}
    write_card(folder, request.sources, entry, request.data_note, history_of(request, folder.name))
    if request.family == "glow" and isinstance(prior := load_image_prior(request.out), GlowPrior):
        save_sheet(request.out / SAMPLES, draw_images(prior.to(request.device), request.loop.seed))
    return progress


def check_alone(folder: Path) -> None:
    """Refuse a part of a prior's folder that would not be the only one: images need one network.

    Raises:
        OutputError: there is another.
    """
    others = sorted(p.parent.name for p in folder.parent.glob("*/config.json") if p.parent != folder)
    if others:
        raise OutputError(
            f"{folder.parent} is a prior with another part: {others[0]}", "choose another --out folder"
        )


def write_card(
    folder: Path,
    sources: Sequence[str],
    entry: Mapping[str, Any],
    data: str = "",
    history: Sequence[dict[str, Any]] = (),
) -> None:
    """Write the card of a prior of images whose network is in ``folder``, a part of the prior's folder.

    Args:
        folder: named after the family.
        sources: what the images are of, one name.
        entry: how the network came about.
        data: what it was trained on.
        history: earlier trainings, the latest first.

    Raises:
        OutputError: the folder cannot be written.
    """
    out = folder.parent
    card = cards.Card(
        name=out.resolve().name,
        medium="image",
        engine="score",
        sources=tuple(sources),
        data=data,
        settings={"score": dict(SETTINGS[folder.name])} if folder.name in SETTINGS else {},
        parts={folder.name: cards.Part(folder.name, dict(entry), tuple(history))},
    )
    cards.write(cards.with_files(card, out), out)


def check(request: Request) -> None:
    """Refuse, before any work, what cannot be trained.

    Raises:
        UsageError: unknown preset, or noise that is none, or not of this family.
    """
    presets = PRESETS[request.family]
    if request.preset not in presets:
        raise UsageError(f"unknown preset '{request.preset}'", f"one of: {', '.join(presets)}")
    mean, std = request.noise_mean, request.noise_std
    if request.family != "denoiser" and not (mean is None and std is None):
        raise UsageError("--noise-mean and --noise-std are for denoisers", "leave them out")
    if not math.isfinite(mean or 0.0) or not 0.0 < (1.0 if std is None else std) < math.inf:
        raise UsageError(
            f"noise of mean {mean} and standard deviation {std} in ln σ is none", "write -0.8 and 1.7"
        )


def of_data(
    request: Request, folder: Path, learn: LabelledImages, held_out: LabelledImages
) -> dict[str, Any]:
    """What a card says of the data of the prior in ``folder``, and of a density how well it knows them."""
    prior = load_image_prior(folder.parent)
    told = {
        "images": len(learn.images),
        "classes": list(prior.config.classes),
        "flip": mirrored(request, learn),
    }
    if not isinstance(prior, GlowPrior):
        return told
    bits = negative_log_likelihood(prior.to(request.device), to_float_images(held_out.images)).mean()
    return {**told, "bits_per_dim": round(float(bits), 4)}


def task_of(
    network: Trainable, request: Request, learn: LabelledImages, held_out: LabelledImages
) -> DenoiserTask:
    """The training of a network, on the device that was asked for."""
    model: Averaged[Trainable] = Averaged(network).to(request.device).train()
    return DenoiserTask(model, learn, held_out, request.batch, mirrored(request, learn))


def mirrored(request: Request, learn: LabelledImages) -> bool:
    """Whether to learn from mirror images, too: if that was asked for, or there are colors."""
    return learn.images.shape[1] == 3 if request.flip is None else request.flip


def _network(request: Request, learn: LabelledImages) -> Trainable:
    channels, *size = learn.images.shape[1:]
    fields: dict[str, Any] = {
        "channels": channels,
        "size": tuple(size),
        "classes": request.classes,
        "class_dropout": request.unlabelled,
        **PRESETS[request.family][request.preset],
    }
    if request.family == "ncsn":
        return NcsnPrior(NcsnConfig(**fields))
    if request.family == "glow":
        ladder = (0.0,) if request.clean else ()
        flow = GlowPrior(GlowConfig(**fields, scales=fitting_scales(*size), sigmas=ladder))
        rng = np.random.default_rng(request.loop.seed)
        chosen = rng.integers(0, len(learn.images), EXAMPLES)
        flow.initialize(to_float_images(learn.images[chosen]), rng)
        return flow
    (mean, std), (p_mean, p_std) = measure(learn), NOISE[channels]
    fields |= {
        "data_mean": mean,
        "data_std": std or 1.0,
        "p_mean": p_mean if request.noise_mean is None else request.noise_mean,
        "p_std": p_std if request.noise_std is None else request.noise_std,
    }
    return DenoiserPrior(DenoiserConfig(**fields))


def _start_from(network: Trainable, init: str) -> None:
    """Give a network the weights of a trained prior.

    Raises:
        PriorError: there is no such prior, or it is of another network.
    """
    card, folder = resolve.find(init)
    cards.verify(card, folder)
    try:
        network.load_state_dict(load_image_prior(folder).state_dict())
    except RuntimeError as error:
        raise PriorError(
            f"prior {card.name} is of another network than the one asked for",
            "give the --family, --preset and --classes that it was trained with",
        ) from error
