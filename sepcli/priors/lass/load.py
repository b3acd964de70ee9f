"""The parts of a LASS prior from its folder, and the engine that they make, of audio and images alike.

A card of audio names the two sources that are separated. A card of images has one source, and both sources
are such images, of any class or each of a class of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sepcli.catalog import card as cards
from sepcli.catalog.card import Card
from sepcli.catalog.network import load_network
from sepcli.errors import PriorError, UsageError
from sepcli.priors.lass.context import ContextConfig, ContextLikelihood
from sepcli.priors.lass.engine import LassEngine
from sepcli.priors.lass.latent import LatentConfig, LatentLikelihood
from sepcli.priors.lass.settings import DEFAULTS, LassSettings
from sepcli.priors.lass.table import LikelihoodTable
from sepcli.priors.lass.transformer import ChosenSources, TransformerConfig, TransformerPrior
from sepcli.priors.lass.vqvae1d import Vqvae1d, Vqvae1dConfig
from sepcli.priors.lass.vqvae2d import Vqvae2d, Vqvae2dConfig
from sepcli.samplers.tokens import token_sampler
from sepcli.settings import parse

CODEC, TRANSFORMER, TABLE, LATENT, CONTEXT = (
    "codec",
    "transformer",
    "table/table.safetensors",
    "latent",
    "context",
)
"""The parts' places in a prior's folder."""
MEANS = (0.5, 0.5)
"""The α_k of the mixtures of images that codecs encode and tables are counted for."""
ROWS: Mapping[str, int] = {"cuda": 16384}
"""Kind of device → hypotheses that are computed at once; elsewhere ``LassEngine.rows``."""
FILES: Mapping[str, str] = {
    f"{CODEC}/config.json": "train it with `sepcli train-prior --family vqvae`",
    f"{CODEC}/model.safetensors": "train it with `sepcli train-prior --family vqvae`",
    f"{TRANSFORMER}/config.json": "train it with `sepcli train-prior --family transformer`",
    f"{TRANSFORMER}/model.safetensors": "train it with `sepcli train-prior --family transformer`",
    TABLE: "count it with `sepcli build-likelihood`",
}
"""The files without which nothing is separated, and what makes each."""

LassCodec = Vqvae1d | Vqvae2d


def build(
    card: Card,
    folder: Path,
    *,
    weights: Sequence[float],
    names: Sequence[str],
    sampler: str,
    settings: Mapping[str, Any],
    labels: Sequence[int | None] | None = None,
    device: torch.device,
) -> LassEngine:
    """Make the engine of a verified prior.

    Args:
        card: of the prior.
        folder: of the card.
        weights: α_k of the mixtures to be separated.
        names: of the two sources.
        sampler: greedy, ancestral, top-k or beam.
        settings: of the sampler and of ``LassSettings``, over the medium's ``DEFAULTS``.
        labels: a class per source, for priors of images with classes; None: any.
        device: where to compute.

    Raises:
        PriorError: a part is missing or damaged, or belongs to another codec or other sources.
        UsageError: an unknown sampler, setting or class, a value out of range, or unsuitable weights.
    """
    if card.medium == "audio" and len(card.sources) != 2:
        raise PriorError(
            f"LASS separates two sources, {card.name} has {len(card.sources)}", "use a prior of two sources"
        )
    for name, hint in FILES.items():
        if name not in card.files:
            raise PriorError(f"prior {card.name} is not complete: its card lists no {name}", hint)
    chosen, rest = token_sampler(sampler, settings)
    own = parse(LassSettings, {**DEFAULTS[card.medium], **rest})
    for key in ("latent", "context"):
        if card.medium == "image" and getattr(own, key) > 0:
            raise UsageError(f"{card.name} has no {key} likelihood", "leave it out", f"settings.{key}")
    codec, digest = load_codec(folder, card)
    table = load_table(folder, card, codec, digest)
    transformer = load_transformer(folder).requires_grad_(False)
    check_transformer(card, transformer, codec, digest)
    latent = load_latent(folder, card, codec).to(device) if own.latent > 0 else None
    context = load_context(folder, card, codec, digest).to(device) if own.context > 0 else None
    sources: tuple[int, ...] = (0, 1)
    if card.medium == "image":
        sources = _classes(transformer.config.sources[1:], labels or (None, None))
    shape = signal_shape(codec)
    return LassEngine(
        codec.to(device),
        ChosenSources(transformer.to(device), sources),
        table,
        chosen,
        own,
        tuple(names),
        tuple(weights),
        card.sample_rate,
        device,
        encoded=mixture_weights(card),
        channels=shape[0],
        size=shape[1:] or None,
        tokens=codec.config.tokens
        if isinstance(codec, Vqvae2d)
        else -(-card.sample_rate // codec.config.hop),
        latent=latent,
        context=context,
        rows=ROWS.get(device.type, LassEngine.rows),
    )


def load_codec(folder: Path, card: Card | None = None) -> tuple[LassCodec, str]:
    """Load the codec of a prior of audio or images, float32 on the CPU, without gradients.

    Args:
        folder: of the prior.
        card: of the prior; its medium and size must be the codec's.

    Returns:
        The codec and the sha256 of its weights.

    Raises:
        PriorError: it is missing or damaged, or for other signals than the card's.
    """
    codec: LassCodec = load_network(_make_codec, folder / CODEC)
    if card is not None:
        own = codec.config.size if isinstance(codec, Vqvae2d) else codec.config.sample_rate
        if own != (card.resolution if card.medium == "image" else card.sample_rate):
            kind = "images of its card's size" if card.medium == "image" else "audio of its card's rate"
            raise PriorError(f"the codec of {card.name} is not for {kind}", "train the prior again")
    return codec.requires_grad_(False), cards.sha256(folder / CODEC / "model.safetensors")


def load_transformer(folder: Path) -> TransformerPrior:
    """Load the autoregressive network of a prior, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    return load_network(lambda config: TransformerPrior(TransformerConfig(**config)), folder / TRANSFORMER)


def check_transformer(card: Card, transformer: TransformerPrior, codec: LassCodec, digest: str) -> None:
    """Refuse an autoregressive network of other sources than the card's, or of another codec.

    Raises:
        PriorError: it is one.
    """
    sources = transformer.config.sources[:1] if card.medium == "image" else transformer.config.sources
    made_for = _trained(card, TRANSFORMER).get("codec", digest)
    if (sources, transformer.config.vocabulary, made_for) != (card.sources, codec.vocabulary, digest):
        raise PriorError(
            f"the autoregressive prior of {card.name} was trained for another codec or other sources",
            "train it again with `sepcli train-prior --family transformer --overwrite`",
        )


def load_table(folder: Path, card: Card, codec: LassCodec, digest: str) -> LikelihoodTable:
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


def load_latent(folder: Path, card: Card, codec: LassCodec) -> LatentLikelihood:
    """Load the latent likelihood of a prior, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged, or belongs to another codec.
    """
    if f"{LATENT}/model.safetensors" not in card.files:
        raise _no_likelihood(card, "latent")
    latent = load_network(lambda config: LatentLikelihood(LatentConfig(**config)), folder / LATENT)
    if not torch.equal(latent.codebook, codec.quantizer.codebook):
        raise _no_likelihood(card, "latent")
    return latent.requires_grad_(False)


def load_context(folder: Path, card: Card, codec: LassCodec, digest: str) -> ContextLikelihood:
    """Load the context likelihood of a prior, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged, or belongs to another codec or other sources.
    """
    if f"{CONTEXT}/model.safetensors" not in card.files:
        raise _no_likelihood(card, "context")
    context = load_network(lambda config: ContextLikelihood(ContextConfig(**config)), folder / CONTEXT)
    if not bool((context.counts.isfinite() & (context.counts >= 1)).all()):  # NaN fails both
        path = folder / CONTEXT / "model.safetensors"
        raise PriorError(f"{path} counts no tokens", "fetch or train the prior again")
    made_for = _trained(card, CONTEXT).get("codec", digest)
    width = codec.config.widths[-1] if isinstance(codec, Vqvae2d) else codec.config.dim
    shape = (context.config.sources, context.config.vocabulary, context.config.features)
    if (*shape, made_for) != (card.sources, codec.vocabulary, width, digest):
        raise _no_likelihood(card, "context")
    return context.requires_grad_(False)


def signal_shape(codec: LassCodec) -> tuple[int, ...]:
    """Channels of a codec's signals and, of images, height and width."""
    return (codec.config.channels, *codec.config.size) if isinstance(codec, Vqvae2d) else (1,)


def mixture_weights(card: Card) -> tuple[float, ...]:
    """The α_k of the mixtures that the codec encodes and the table is counted for."""
    return MEANS if card.medium == "image" else card.weights or (1.0,) * len(card.sources)


def _trained(card: Card, part: str) -> dict[str, Any]:
    """What a card says of the training of a part; {} if nothing."""
    return card.parts[part].training if part in card.parts else {}


def _make_codec(config: dict[str, Any]) -> LassCodec:
    return Vqvae2d(Vqvae2dConfig(**config)) if "size" in config else Vqvae1d(Vqvae1dConfig(**config))


def _no_likelihood(card: Card, part: str) -> PriorError:
    return PriorError(
        f"{card.name} has no {part} likelihood for its codec and sources",
        f"train it with `sepcli train-prior --family {part}`, or set {part}=0",
    )


def _classes(classes: Sequence[str], labels: Sequence[int | None]) -> tuple[int, ...]:
    """Which of the network's sources each is: images of any class come first, then the classes.

    Raises:
        UsageError: there is no such class.
    """
    for label in labels:
        if label is not None and not 0 <= label < len(classes):
            raise UsageError(
                f"the prior has no class {label}", "use a prior that was trained with classes", "labels"
            )
    return tuple(0 if label is None else label + 1 for label in labels)
