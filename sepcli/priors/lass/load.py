"""The parts of a LASS prior from its folder, of audio and images alike.

A card of audio names the sources that are separated. A card of images has one source, and both sources
are such images, of any class or each of a given class. The codec decides the medium.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from sepcli.catalog.bounded import Files
from sepcli.catalog.card import Card
from sepcli.catalog.network import load_network
from sepcli.catalog.verified import digest as digest_of
from sepcli.errors import PriorError
from sepcli.priors.lass.context import ContextConfig, ContextLikelihood
from sepcli.priors.lass.gpt import GptConfig, GptPrior
from sepcli.priors.lass.latent import LatentConfig, LatentLikelihood
from sepcli.priors.lass.palette import Palette, PaletteConfig
from sepcli.priors.lass.table import LikelihoodTable
from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
from sepcli.priors.lass.vqgan import Vqgan, VqganConfig
from sepcli.priors.lass.vqvae1d import Vqvae1d, Vqvae1dConfig
from sepcli.priors.lass.vqvae2d import Vqvae2d, Vqvae2dConfig

CODEC, TRANSFORMER, LATENT, CONTEXT = "codec", "transformer", "latent", "context"
"""Folders of the parts in a prior's folder."""
TABLE = "table/table.safetensors"
"""Path of the likelihood table in a prior's folder."""
MEANS = (0.5, 0.5)
"""The α_k of the mixtures of images that codecs encode and tables are counted for."""
FILES: Mapping[str, str] = {
    **dict.fromkeys(
        (f"{CODEC}/config.json", f"{CODEC}/model.safetensors"),
        "train it with `sepcli train-prior`, family vqvae",
    ),
    **dict.fromkeys(
        (f"{TRANSFORMER}/config.json", f"{TRANSFORMER}/model.safetensors"),
        "train it with `sepcli train-prior`, family transformer",
    ),
    TABLE: "count it with `sepcli build-likelihood`",
}
"""The files that separation needs → the command that makes each."""

TrainableCodec = Vqvae1d | Vqvae2d
LassCodec = TrainableCodec | Vqgan | Palette
CodecConfig = Vqvae1dConfig | Vqvae2dConfig | VqganConfig | PaletteConfig
LassTransformer = TransformerPrior | GptPrior


def load_codec(folder: Files, card: Card | None = None) -> tuple[LassCodec, str]:
    """Load the codec of a prior, float32 on the CPU, without gradients, and the sha256 of its weights.

    Raises:
        PriorError: it is missing or damaged, or for other signals than the card's.
    """
    codec: LassCodec = load_network(_codec_of, folder / CODEC)
    if card is not None:
        size = codec.config.sample_rate if isinstance(codec, Vqvae1d) else codec.config.size
        if size != (card.resolution if card.medium == "image" else card.sample_rate):
            kind = "images of its card's size" if card.medium == "image" else "audio of its card's rate"
            raise PriorError(f"the codec of {card.name} is not for {kind}", "train the prior again")
    return codec.requires_grad_(False), digest_of(folder / CODEC / "model.safetensors")


def load_transformer(folder: Files) -> LassTransformer:
    """Load the autoregressive network of a prior, float32 on the CPU; PriorError if missing or damaged."""
    return load_network(_transformer_of, folder / TRANSFORMER)


def check_transformer(card: Card, transformer: LassTransformer, codec: LassCodec, digest: str) -> None:
    """Refuse an autoregressive network of other sources than the card's, or of another codec: PriorError."""
    sources = transformer.config.sources[:1] if card.medium == "image" else transformer.config.sources
    made_for = (sources, transformer.config.vocabulary, _codec_digest(card, TRANSFORMER, digest))
    if made_for != (card.sources, codec.vocabulary, digest):
        raise PriorError(
            f"the autoregressive prior of {card.name} was trained for another codec or other sources",
            "train it again with `sepcli train-prior`, family transformer",
        )


def load_table(folder: Files, card: Card, codec: LassCodec, digest: str) -> LikelihoodTable:
    """Load the likelihood table of a prior.

    Raises:
        PriorError: it is missing or damaged, or belongs to another codec.
    """
    table = LikelihoodTable.load(folder / TABLE)
    if (table.codec, table.vocabulary) != (digest, codec.vocabulary):
        raise PriorError(
            f"the likelihood table of {card.name} belongs to another codec",
            "count it again with `sepcli build-likelihood`",
        )
    return table


def load_latent(folder: Files, card: Card, codec: LassCodec) -> LatentLikelihood:
    """Load the latent likelihood of a prior, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged, or belongs to another codec.
    """
    _check_likelihood(card, LATENT, f"{LATENT}/model.safetensors" in card.files)
    latent = load_network(lambda config: LatentLikelihood(LatentConfig(**config)), folder / LATENT)
    _check_likelihood(card, LATENT, torch.equal(latent.codebook, codec.quantizer.codebook))
    return latent.requires_grad_(False)


def load_context(folder: Files, card: Card, codec: LassCodec, digest: str) -> ContextLikelihood:
    """Load the context likelihood of a prior, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged, or belongs to another codec or other sources.
    """
    _check_likelihood(card, CONTEXT, f"{CONTEXT}/model.safetensors" in card.files)
    context = load_network(lambda config: ContextLikelihood(ContextConfig(**config)), folder / CONTEXT)
    if not bool((context.counts.isfinite() & (context.counts >= 1)).all()):  # NaN fails both
        path = folder / CONTEXT / "model.safetensors"
        raise PriorError(f"{path} counts no tokens", "fetch or train the prior again")
    config = context.config
    made_for = (config.sources, config.vocabulary, config.features, _codec_digest(card, CONTEXT, digest))
    _check_likelihood(
        card, CONTEXT, made_for == (card.sources, codec.vocabulary, feature_width(codec), digest)
    )
    return context.requires_grad_(False)


def make_codec(config: Vqvae1dConfig | Vqvae2dConfig) -> TrainableCodec:
    """Make a codec with its first weights."""
    return Vqvae2d(config) if isinstance(config, Vqvae2dConfig) else Vqvae1d(config)


def feature_width(codec: LassCodec) -> int:
    """Return F, the channels of a codec's features."""
    if isinstance(codec, Vqgan | Palette):
        return codec.config.latent_channels if isinstance(codec, Vqgan) else codec.config.channels
    return codec.config.dim if isinstance(codec, Vqvae1d) else codec.config.widths[-1]


def check_sources(card: Card) -> None:
    """Refuse a prior of one source of audio, or of more than two with unequal weights: PriorError."""
    weights = mixture_weights(card)
    if len(weights) < 2 or (len(weights) > 2 and len({*weights}) > 1):
        shares = ":".join(f"{weight:g}" for weight in weights)
        raise PriorError(
            f"LASS separates two sources, or more that are mixed alike; {card.name} has {shares}",
            "use a prior of other sources",
        )


def mixture_weights(card: Card) -> tuple[float, ...]:
    """Return the α_k of the mixtures that the codec encodes and the table is counted for."""
    return MEANS if card.medium == "image" else card.weights or (1.0,) * len(card.sources)


def _codec_digest(card: Card, part: str, default: str) -> str:
    """The sha256 of the codec that a part was trained for, if the card has it."""
    return str(card.parts[part].training.get("codec", default)) if part in card.parts else default


def _codec_of(config: dict[str, Any]) -> LassCodec:
    if "multiples" in config:
        return Vqgan(VqganConfig(**config))
    if "colors" in config:
        return Palette(PaletteConfig(**config))
    return make_codec(Vqvae2dConfig(**config) if "size" in config else Vqvae1dConfig(**config))


def _transformer_of(config: dict[str, Any]) -> LassTransformer:
    if "unconditional" in config:
        return GptPrior(GptConfig(**config))
    return TransformerPrior(TransformerConfig(**config))


def _check_likelihood(card: Card, part: str, holds: bool) -> None:
    if not holds:
        raise PriorError(
            f"{card.name} has no {part} likelihood for its codec and sources",
            f"train it with `sepcli train-prior`, family {part}, or set {part}=0",
        )
