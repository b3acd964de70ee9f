"""Tiny priors of sounds on disk: untrained denoisers, and a LASS prior whose card names some of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from msgspec import structs

from sepcli.catalog import card as cards
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.spectral_net import SpectralConfig
from sepcli.training.loop import write_weights


def make_sound(folder: Path, source: str, settings: Mapping[str, Any] | None = None, **changes: Any) -> str:
    """A prior of one sound at 8 kHz, 32 bands; ``changes`` are of its config."""
    fields = {"bins": 32, "width": 8, "blocks": 1, "embedding": 8, "band_std": (0.1,), "sample_rate": 8000}
    config = SpectralConfig(**{**fields, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(source))
        prior = SpectralPrior(config)
        for parameter in prior.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    (folder / "denoiser").mkdir(parents=True)
    write_weights(prior, folder / "denoiser" / "model.safetensors")
    (folder / "denoiser" / "config.json").write_text(json.dumps(asdict(config)))
    card = cards.Card(
        name=folder.name,
        medium="audio",
        engine="score",
        sources=(source,),
        weights=(1.0,),
        sample_rate=config.sample_rate,
        settings={"score": settings or {}},
    )
    cards.write(cards.with_files(card, folder), folder)
    return str(folder)


def make_dual(folder: Path, lass: Path, method: str | None = None) -> Path:
    """A copy of a LASS prior of drums and bass with a score prior for each in it, ``method`` its default."""
    shutil.copytree(lass, folder)
    settings = {"steps": 3}
    make_sound(folder / "beats", "a kit", settings)
    make_sound(folder / "low", "a bass guitar")
    card = cards.read(folder)
    card = structs.replace(card, priors=("beats", "low"), engine=method or card.engine)
    cards.write(card, folder)
    return folder
