"""The training of the parts of LASS, of audio and images alike: codec, transformer, and likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
from msgspec import structs

from sepcli.catalog import card as cards
from sepcli.datasets.detect import Kind, kind_of
from sepcli.datasets.image_splits import named_classes
from sepcli.errors import OutputError, PriorError, UsageError
from sepcli.priors.lass import parts
from sepcli.priors.lass.chunks import Data
from sepcli.priors.lass.load import (
    CODEC,
    CONTEXT,
    LATENT,
    TRANSFORMER,
    CodecConfig,
    LassCodec,
    TrainableCodec,
    load_codec,
    make_codec,
)
from sepcli.priors.lass.open_chunks import SECONDS, audio_data, codec_images, transformer_images
from sepcli.priors.lass.options import CODECS, AudioOptions, ImageCodecOptions, ImageTransformerOptions
from sepcli.priors.lass.tasks import CodecTask
from sepcli.priors.lass.vqvae1d import SPECTRAL_SIZES, Vqvae1d, Vqvae1dConfig
from sepcli.priors.lass.vqvae2d import Vqvae2d, Vqvae2dConfig
from sepcli.protocols import ProgressCallback
from sepcli.training.config import TrainConfig
from sepcli.training.run import OnMessage, Recipe, Setup, Stage

SOURCES = ("drums", "bass")
"""The sources of a prior of audio, unless others are named."""
USED: Mapping[str, Mapping[str, Any]] = {
    LATENT: {"latent": 0.5, "lam": 0.25},
    CONTEXT: {"context": 1.0, "shortlist": 32, "lam": 0.25},
}
"""Part → settings by which it is used once it is trained, unless the card has others."""

Options = AudioOptions | ImageCodecOptions | ImageTransformerOptions
MakePart = Callable[[TrainConfig, Data, LassCodec, str], parts.Part]
"""(config, data, codec, its sha256) → a network over the codec's tokens."""


def codec(options: AudioOptions | ImageCodecOptions, config: TrainConfig) -> Recipe:
    """Decide how a codec is trained.

    Raises:
        UsageError: chunks are too short, or sources are not the prior's.
        OutputError: the folder is of another prior.
    """
    config = _named(options, config)
    if isinstance(options, AudioOptions):
        hop = Vqvae1dConfig(**CODECS["audio"][config.preset]).hop
        if config.tokens * hop <= max(SPECTRAL_SIZES) // 2:
            raise UsageError(
                f"chunks of {config.tokens} tokens are too short", "use 32 tokens or more", argument="tokens"
            )
    return Recipe(CODEC, config.sources, asdict(options), partial(_open_codec, options, config), alone=False)


def transformer(options: AudioOptions | ImageTransformerOptions, config: TrainConfig) -> Recipe:
    """Decide how a transformer over the tokens of a codec is trained.

    Raises:
        UsageError: sources are not the prior's, or classes not those of the data.
        OutputError: the folder is of another prior.
    """
    config, identity = _named(options, config), asdict(options)
    classes: tuple[str, ...] = ()
    if isinstance(options, ImageTransformerOptions):
        classes = identity["classes"] = named_classes(config.data, options.classes)
    make = partial(parts.transformer, (*config.sources, *classes))
    opened = partial(_open_part, TRANSFORMER, make, options, config)
    return Recipe(TRANSFORMER, config.sources, identity, opened, alone=False)


def likelihood(options: AudioOptions, config: TrainConfig) -> Recipe:
    """Decide how a likelihood is trained: of the mixture's latents, or of the mixture around a token.

    Raises:
        UsageError: sources are not the prior's, or not two.
        OutputError: the folder is of another prior.
    """
    config, part = _named(options, config), config.family
    if len(config.sources) != 2:
        raise UsageError(
            f"LASS separates two sources, {len(config.sources)} are given", "name two", argument="sources"
        )
    make = parts.latent if part == LATENT else parts.context
    return Recipe(part, config.sources, {}, partial(_open_part, part, make, options, config), alone=False)


def _named(options: Options, config: TrainConfig) -> TrainConfig:
    """Return the config with its sources, which have to be those of the prior in the folder.

    Raises:
        UsageError: they are not, or there are several of images.
        OutputError: the folder is of another prior.
    """
    medium = "audio" if isinstance(options, AudioOptions) else "image"
    if medium == "image" and len(config.sources) > 1:
        raise UsageError(
            f"a {config.family} of images is of one source, not of {','.join(config.sources)}",
            "name one source",
            argument="sources",
        )
    folder = config.data.resolve().name or "image"
    default = SOURCES if medium == "audio" else ("digit" if kind_of(config.data) is Kind.DIGITS else folder,)
    config = replace(config, sources=config.sources or default)
    if (config.out / cards.CARD).exists():
        card = cards.read(config.out)
        if "lass" not in card.engines or card.medium != medium:
            raise OutputError(
                f"{config.out} is a prior of another kind", "choose another folder", argument="out"
            )
        if card.sources != config.sources:
            raise UsageError(
                f"{config.out} is a prior of {', '.join(card.sources)}, not of {', '.join(config.sources)}",
                f"name the sources {','.join(card.sources)}, or choose another folder",
                argument="sources",
            )
    return config


def _open_codec(
    options: AudioOptions | ImageCodecOptions,
    config: TrainConfig,
    on_progress: ProgressCallback | None,
    on_message: OnMessage | None,
) -> Setup:
    shape: Vqvae1dConfig | Vqvae2dConfig
    if isinstance(options, AudioOptions):
        shape = Vqvae1dConfig(**CODECS["audio"][config.preset])
        data = audio_data(config, shape, SECONDS)
    else:
        (channels, *size), data = codec_images(options, config, on_progress, on_message)
        try:
            shape = Vqvae2dConfig(channels, tuple(size), **CODECS["image"][config.preset])
        except ValueError as error:
            raise UsageError(f"{error}", "choose a multiple of the patch", "settings.size") from error

    def task(model: TrainableCodec, _: TrainableCodec) -> CodecTask:
        result = CodecTask(model, data, config.batch, config.world)
        if isinstance(model, Vqvae2d):
            sources, _ = result.sample(np.random.default_rng(config.loop.seed))
            model.initialize(result.signals(sources))
        return result

    stage = Stage(partial(make_codec, shape), task, average=False)
    return Setup(shape, stage, _card(config, CODEC, shape, data), finish=lambda: data.facts)


def _open_part(
    part: str,
    make: MakePart,
    options: AudioOptions | ImageTransformerOptions,
    config: TrainConfig,
    on_progress: ProgressCallback | None,
    on_message: OnMessage | None,
) -> Setup:
    trained, digest = load_codec(config.out)
    trained = trained.to(config.device)
    if isinstance(trained, Vqvae1d) and isinstance(options, AudioOptions):
        data = audio_data(config, trained.config)
    elif not isinstance(trained, Vqvae1d) and isinstance(options, ImageTransformerOptions):
        data = transformer_images(options, config, trained.config, on_progress)
    else:
        raise PriorError(f"the codec of {config.out} is not for {config.data}", "train a codec first")
    shape, stage = make(config, data, trained, digest)
    card = _card(config, part, trained.config, data)
    identity = {"codec": digest}
    return Setup(shape, stage, card, identity, finish=lambda: {**data.facts, **identity})


def _card(config: TrainConfig, part: str, shape: CodecConfig, data: Data) -> cards.Card:
    """Return the prior's card, or a new one, with the settings that use the part."""
    if (config.out / cards.CARD).exists():
        card = cards.read(config.out)
    else:
        card = cards.Card(
            name=config.out.resolve().name, medium="image", engine="lass", sources=config.sources
        )
        if isinstance(shape, Vqvae1dConfig):
            rate = shape.sample_rate
            card = structs.replace(card, medium="audio", weights=data.weights, sample_rate=rate)
    if not isinstance(shape, Vqvae1dConfig):
        card = structs.replace(card, resolution=shape.size)
    settings = {**card.settings, "lass": {**USED.get(part, {}), **card.settings.get("lass", {})}}
    return structs.replace(card, settings=settings)
