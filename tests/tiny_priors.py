"""Priors of untrained networks that are built at once."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from sepcli.catalog import card as cards
from sepcli.priors.images.denoiser import DenoiserConfig, DenoiserPrior
from sepcli.priors.images.glow import GlowConfig, glow_prior
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.priors.lass.table_job import encode
from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
from sepcli.priors.lass.vqvae1d import Vqvae1d, Vqvae1dConfig
from sepcli.training.loop import write_weights

TINY_RATE = 4000


def write_lass_prior(folder: Path, sources: tuple[str, ...] = ("drums", "bass")) -> Path:
    """Write a LASS prior with a counted table into a folder; return it.

    By default, its sources are drums and bass; its rate is 4 kHz, its windows are 0.4 s long: 25 tokens.
    """
    codec_config = Vqvae1dConfig(
        TINY_RATE,
        window=128,
        dim=16,
        encoder_dilations=(1,),
        decoder_dilations=(1,),
        vocabulary=32,
        code_dim=4,
    )
    prior_config = TransformerConfig(
        32, sources, dim=16, layers=1, heads=2, head_dim=8, context=16, mlp_ratio=2
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec, prior = Vqvae1d(codec_config), TransformerPrior(prior_config)
        noise = 0.1 * torch.randn(8, 2, 64 * 128)
    for name, network, config in (("codec", codec, codec_config), ("transformer", prior, prior_config)):
        (folder / name).mkdir(parents=True)
        write_weights(network, folder / name / "model.safetensors")
        (folder / name / "config.json").write_text(json.dumps(asdict(config)))
    counter = TripleCounter(32, symmetric=len(sources) > 2)
    counter.add(*encode(codec.eval(), noise[:, :, None], (0.5, 0.5)))
    (folder / "table").mkdir()
    digest = cards.sha256(folder / "codec" / "model.safetensors")
    LikelihoodTable.of(counter, digest).save(folder / "table" / "table.safetensors")
    stream = {"window": 0.4, "overlap": 0.1, "batch": 4}
    card = cards.Card(
        name="tiny",
        medium="audio",
        engine="lass",
        sources=sources,
        weights=(0.5,) * len(sources),
        sample_rate=TINY_RATE,
        settings={"lass": {"lam": 1.0}},
        stream=stream,
    )
    cards.write(cards.with_files(card, folder), folder)
    return folder


def write_image_prior(folder: Path, source: str, config: DenoiserConfig | GlowConfig) -> Path:
    """Write a prior of images, an untrained network, into a folder; return it."""

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = DenoiserPrior(config) if isinstance(config, DenoiserConfig) else glow_prior(config)
        for parameter in prior.parameters():  # the last layers begin at zero
            parameter.data += 0.05 * torch.randn_like(parameter)
    part = folder / ("denoiser" if isinstance(config, DenoiserConfig) else "glow")
    part.mkdir(parents=True)
    write_weights(prior, part / "model.safetensors")
    (part / "config.json").write_text(json.dumps(asdict(config)))
    card = cards.Card(name=folder.name, medium="image", engine="score", sources=(source,))
    cards.write(cards.with_files(card, folder), folder)
    return folder
