"""From a request to a finished part of a prior's folder: network, training, config and card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from msgspec import structs

from sepcli.catalog import card as cards
from sepcli.datasets.detect import Kind, holds_images, kind_of
from sepcli.datasets.song_banks import open_songs
from sepcli.datasets.stems import StemBank
from sepcli.errors import InputError, UsageError
from sepcli.priors.audio import train_denoiser as audio
from sepcli.priors.audio import train_encoders as variational
from sepcli.priors.audio import train_flow as waves
from sepcli.priors.images import finetune_glow as ladder
from sepcli.priors.images import train as images
from sepcli.priors.lass import train_images as lass_images
from sepcli.priors.lass.context import ContextConfig, ContextLikelihood
from sepcli.priors.lass.latent import LatentConfig, LatentLikelihood
from sepcli.priors.lass.train import (
    CODEC_PRESETS,
    CONTEXT_PRESETS,
    LATENT_PRESETS,
    PRIOR_PRESETS,
    VALIDATED,
    CodecTask,
    LikelihoodTask,
    PriorTask,
    audio_codec,
    context_nll,
    latent_nll,
    new_prior,
)
from sepcli.priors.lass.transformer import TransformerConfig
from sepcli.priors.lass.vqvae1d import SPECTRAL_SIZES, Vqvae1d, Vqvae1dConfig
from sepcli.protocols import ProgressCallback
from sepcli.signal.mixing import WeightedSum
from sepcli.training.config import Request, check_free, history_of, training_entry
from sepcli.training.loop import Progress, Task, train, write_text

PARTS = {
    "vqvae": "codec",
    "transformer": "transformer",
    "latent": "latent",
    "context": "context",
    "denoiser": "denoiser",
    "ncsn": "ncsn",
    "glow": "glow",
    "flow": "flow",
    "variational": "encoders",
}
"""The folder, inside a prior's folder, that each family writes."""

USED: Mapping[str, Mapping[str, Any]] = {
    "latent": {"latent": 0.5, "lam": 0.25},
    "context": {"context": 1.0, "shortlist": 32, "lam": 0.25},
}
"""Settings of LASS by which a likelihood that was trained is used, where the card has none of its own."""


def run(
    request: Request,
    on_progress: ProgressCallback | None = None,
    log: Callable[[dict[str, float]], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Progress:
    """Train what is asked for and leave ``model.safetensors``, ``config.json`` and an updated ``card.toml``.

    Raises:
        UsageError: unknown family or preset, an option of another family, chunks too short, or other sources
            than the prior's.
        OutputError: there is something there already and neither resume nor overwrite was asked for.
        InputError: the data cannot be read.
        PriorError: a transformer is asked for before its codec exists, or a ladder before its flow.
    """
    if request.family not in PARTS:
        raise UsageError(f"unknown family '{request.family}'", f"one of: {', '.join(PARTS)}")
    if request.clean and request.family not in ("glow", "flow"):
        raise UsageError(
            f"clean images only are for a glow, clean sounds for a flow, not for a {request.family}",
            "leave out --clean",
        )
    trained_on = (*images.PRESETS, "transformer")
    if request.init is not None and request.family not in trained_on:
        raise UsageError(
            f"--init is not for a {request.family}",
            f"leave it out, or use --family {' or '.join(trained_on)}",
        )
    of_sound = {"--against": request.against, "--low-bands": request.low_bands, "--compile": request.compiled}
    given = [option for option, value in of_sound.items() if value]
    if given and not (request.family == "denoiser" and kind_of(request.data) is Kind.SOUND):
        raise UsageError(f"{given[0]} is for denoisers of sound", "leave it out")
    if request.low_bands and (request.init is None or not request.against):
        raise UsageError("--low-bands adds to a trained prior", "give it --init and --against")
    variational.check_options(request)
    folder = request.out / PARTS[request.family]
    if request.finetune_noise:
        return ladder.run(request, folder, on_progress, log, tell)
    check_free(folder, request.resume, request.overwrite)
    if request.family == "flow":
        return waves.run(request, folder, on_progress, log)
    if request.family == "variational":
        return variational.run(request, folder, on_progress, log)
    if request.family == "denoiser" and kind_of(request.data) is Kind.SOUND:
        return audio.run(request, folder, on_progress, log)
    if request.family in images.PRESETS:
        return images.run(request, folder, on_progress, log, tell)
    if request.family in lass_images.PARTS and holds_images(request.data):
        return lass_images.run(request, folder, on_progress, log, tell)
    _check_fits(request)
    shape = _codec_config(request)
    banks = [
        open_songs(request.data, split, request.sources, shape.sample_rate, request.cache)
        for split in ("train", "validation")
    ]
    chunk = request.tokens * shape.hop
    _check_long_enough(banks[0], chunk)
    _check_long_enough(banks[1], VALIDATED * shape.sample_rate if request.family == "vqvae" else chunk)
    task, config = _task(request, banks[0], banks[1])
    task.model.train()
    loop = request.loop
    if request.family != "vqvae":  # what a resumed run has learnt or counted is of these tokens
        loop = replace(loop, run={**loop.run, "codec": audio_codec(request.out)[1]})
    progress = train(task, folder, loop, request.device, request.resume, on_progress, log)
    write_text(folder / "config.json", json.dumps(config, indent=1))
    _update_card(request, progress, banks[0].seconds)
    return progress


def _codec_config(request: Request) -> Vqvae1dConfig:
    """Of the codec that is to be trained, or is there."""
    if request.family != "vqvae":
        return audio_codec(request.out)[0].config
    return Vqvae1dConfig(**_presets("vqvae")[request.preset])


def _check_long_enough(bank: StemBank, length: int) -> None:
    for name, spans in zip(bank.names, bank.spans, strict=True):
        if int((spans[:, 1] - spans[:, 0]).max(initial=0)) < length:
            raise InputError(
                f"no recording of {name} is long enough for chunks of {length / bank.sample_rate:.1f} s",
                "use longer recordings or fewer --tokens",
            )


def _check_fits(request: Request) -> None:
    """Refuse, before any work, what cannot be trained or would not fit the parts that are there."""
    presets = _presets(request.family)
    if request.preset not in presets:
        raise UsageError(f"unknown preset '{request.preset}'", f"one of: {', '.join(presets)}")
    if request.family == "vqvae" and request.tokens * _codec_config(request).hop <= max(SPECTRAL_SIZES) // 2:
        raise UsageError(f"chunks of {request.tokens} tokens are too short", "use --tokens 32 or more")
    if request.family in ("latent", "context") and len(request.sources) != 2:
        raise UsageError(
            f"LASS separates two sources, {len(request.sources)} are asked for", "name two in --sources"
        )
    if not (request.out / "card.toml").exists():
        return
    card = cards.read(request.out)
    if card.sources != request.sources:
        raise UsageError(
            f"{request.out} is a prior of {', '.join(card.sources)}, not of {', '.join(request.sources)}",
            f"use --sources {','.join(card.sources)}, or another --out folder",
        )


def _presets(family: str) -> Mapping[str, Mapping[str, Any]]:
    return {
        "vqvae": CODEC_PRESETS,
        "transformer": PRIOR_PRESETS,
        "latent": LATENT_PRESETS,
        "context": CONTEXT_PRESETS,
    }[family]


def _task(request: Request, bank: Any, held_out: Any) -> tuple[Task, dict[str, Any]]:
    with torch.random.fork_rng(devices=[]):  # networks draw their first weights from torch's own stream
        torch.manual_seed(request.loop.seed)
        return _new_task(request, bank, held_out)


def _new_task(request: Request, bank: Any, held_out: Any) -> tuple[Task, dict[str, Any]]:
    presets = _presets(request.family)
    if request.family == "vqvae":
        codec_config = Vqvae1dConfig(**presets[request.preset])
        codec = Vqvae1d(codec_config).to(request.device)
        return CodecTask(codec, bank, held_out, request.weights, request.batch, request.tokens), asdict(
            codec_config
        )
    trained, digest = audio_codec(request.out)
    trained = trained.to(request.device)
    mixing, shape = WeightedSum(request.weights), presets[request.preset]
    rest = (bank, held_out, request.batch, request.tokens * trained.config.hop, request.device)
    if request.family == "latent":
        of_latents = LatentConfig(trained.vocabulary, trained.config.code_dim, **shape)
        latent = LatentLikelihood(of_latents).to(request.device)
        latent.codebook.copy_(trained.quantizer.codebook)
        return LikelihoodTask(latent, partial(latent_nll, latent, trained, mixing), *rest), asdict(of_latents)
    if request.family == "context":
        around = ContextConfig(trained.vocabulary, request.sources, trained.config.dim, **shape)
        context = ContextLikelihood(around)
        context.order_codes(trained.quantizer.codebook)
        context = context.to(request.device)
        return LikelihoodTask(context, partial(context_nll, context, trained, mixing), *rest), asdict(around)
    config = TransformerConfig(trained.vocabulary, request.sources, **shape)
    prior = new_prior(config, trained.quantizer.codebook, digest, request.init).to(request.device)
    return PriorTask(prior, trained, bank, held_out, request.batch, request.tokens), asdict(config)


def _update_card(request: Request, progress: Progress, seconds: tuple[float, ...]) -> None:
    exists = (request.out / "card.toml").exists()
    card = (
        cards.read(request.out)
        if exists
        else cards.Card(
            name=request.out.resolve().name,
            medium="audio",
            engine="lass",
            sources=request.sources,
            weights=request.weights,
            sample_rate=_codec_config(request).sample_rate,
        )
    )
    entry = training_entry(request, progress)
    entry["hours_of_data"] = {
        name: round(s / 3600, 2) for name, s in zip(request.sources, seconds, strict=True)
    }
    if request.family != "vqvae":
        entry["codec"] = audio_codec(request.out)[1]
    settings = {**USED.get(request.family, {}), **card.defaults("lass")}
    part = cards.Part(request.family, entry, history_of(request, PARTS[request.family]))
    card = structs.replace(
        cards.with_part(card, PARTS[request.family], part),
        data=request.data_note or card.data,
        settings={**card.settings, "lass": settings},
    )
    cards.write(cards.with_files(card, request.out), request.out)
