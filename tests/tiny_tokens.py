"""A tiny LASS prior of images on disk: untrained networks and a counted table."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sepcli.catalog import card as cards
from sepcli.priors.lass.load import MEANS
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.priors.lass.table_job import encode
from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
from sepcli.priors.lass.vqvae2d import Vqvae2d, Vqvae2dConfig
from sepcli.training.loop import write_weights

CODES = 12
FEW: dict[str, str] = {"candidates": "3", "refine": "2"}
"""Settings for little work."""


def make_tokens(
    folder: Path, size: tuple[int, int] = (8, 8), classes: tuple[str, ...] = (), **settings: Any
) -> Path:
    """A prior of gray images, 4 x 4 pixels per token; ``settings`` are its card's."""
    codec_config = Vqvae2dConfig(size=size, widths=(6, 8), layers=1, vocabulary=CODES, code_dim=4)
    sizes = {"dim": 8, "layers": 1, "heads": 2, "head_dim": 4, "context": codec_config.tokens, "mlp_ratio": 2}
    prior_config = TransformerConfig(CODES, ("digit", *classes), **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec, prior = Vqvae2d(codec_config), TransformerPrior(prior_config)
        for network in (codec, prior):  # so that images differ, and codes, and what is expected of them
            for parameter in network.parameters():
                parameter.data += 0.3 * torch.randn_like(parameter)
        images = torch.rand(64, 2, 1, *size)
    for name, network, config in (("codec", codec, codec_config), ("transformer", prior, prior_config)):
        (folder / name).mkdir(parents=True)
        write_weights(network, folder / name / "model.safetensors")
        (folder / name / "config.json").write_text(json.dumps(asdict(config)))
    counter = TripleCounter(CODES, symmetric=True)
    counter.add(*encode(codec.eval(), images, MEANS))
    (folder / "table").mkdir()
    digest = cards.sha256(folder / "codec" / "model.safetensors")
    LikelihoodTable.of(counter, digest).save(folder / "table" / "table.safetensors")
    card = cards.Card(
        name=folder.name,
        medium="image",
        engine="lass",
        sources=("digit",),
        resolution=size,
        settings={"lass": {**FEW, **settings}},
    )
    cards.write(cards.with_files(card, folder), folder)
    return folder
