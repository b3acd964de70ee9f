"""How the parts of LASS are trained, of audio and images alike: codec, transformer, and likelihoods."""

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
from sepcli.errors import OutputError, PriorError, SepError, UsageError
from sepcli.priors.lass import parts
from sepcli.priors.lass.load import (
    CODEC,
    CONTEXT,
    LATENT,
    TRANSFORMER,
    LassCodec,
    load_codec,
)
from sepcli.priors.lass.open_chunks import SECONDS, Data, audio_data, codec_images, transformer_images
from sepcli.priors.lass.options import AudioOptions, ImageCodecOptions, ImageTransformerOptions
from sepcli.priors.lass.presets import CODECS
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


def latent(options: AudioOptions, config: TrainConfig) -> Recipe:
    """Decide how a likelihood of the mixture's latents is trained.

    Raises:
        UsageError: sources are not the prior's, or not two.
        OutputError: the folder is of another prior.
    """
    return _likelihood(LATENT, parts.latent, options, config)


def context(options: AudioOptions, config: TrainConfig) -> Recipe:
    """Decide how a likelihood of the mixture around a token is trained.

    Raises:
        UsageError: sources are not the prior's, or not two.
        OutputError: the folder is of another prior.
    """
    return _likelihood(CONTEXT, parts.context, options, config)


def _likelihood(
    part: str, make: Callable[..., parts.Part], options: AudioOptions, config: TrainConfig
) -> Recipe:
    config = _named(options, config)
    if len(config.sources) != 2:
        raise UsageError(
            f"LASS separates two sources, {len(config.sources)} are given", "name two", argument="sources"
        )
    return Recipe(part, config.sources, {}, partial(_open_part, part, make, options, config), alone=False)


def _named(options: Options, config: TrainConfig) -> TrainConfig:
    """The config with its sources, which have to be those of the prior in the folder.

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
        shape = _image_shape(channels, (size[0], size[1]), config.preset)

    def network() -> LassCodec:
        return Vqvae2d(shape) if isinstance(shape, Vqvae2dConfig) else Vqvae1d(shape)

    def task(model: LassCodec, _: LassCodec) -> CodecTask:
        result = CodecTask(model, data.train, data.held_out, data.weights, config.batch, data.mixtures)
        if isinstance(model, Vqvae2d):
            model.initialise(result.sample(np.random.default_rng(config.loop.seed)))
        return result

    stage = Stage(network, task, average=False)
    return Setup(shape, stage, _card(config, CODEC, shape, data), finish=lambda: data.facts)


def _image_shape(channels: int, size: tuple[int, int], preset: str) -> Vqvae2dConfig:
    """The sizes of a codec of images.

    Raises:
        UsageError: the images are not whole patches.
    """
    try:
        return Vqvae2dConfig(channels, size, **CODECS["image"][preset])
    except ValueError as error:
        if isinstance(error, SepError):
            raise
        raise UsageError(f"{error}", "choose a multiple of the patch", argument="settings.size") from error


def _open_part(
    part: str,
    make: Callable[[TrainConfig, Data, LassCodec, str], parts.Part],
    options: AudioOptions | ImageTransformerOptions,
    config: TrainConfig,
    on_progress: ProgressCallback | None,
    on_message: OnMessage | None,
) -> Setup:
    trained, digest = load_codec(config.out)
    trained = trained.to(config.device)
    if isinstance(trained, Vqvae1d) and isinstance(options, AudioOptions):
        data = audio_data(config, trained.config)
    elif isinstance(trained, Vqvae2d) and isinstance(options, ImageTransformerOptions):
        data = transformer_images(options, config, trained, on_progress)
    else:
        raise PriorError(f"the codec of {config.out} is not for {config.data}", "train a codec first")
    definition = make(config, data, trained, digest)
    return Setup(
        definition.config,
        Stage(definition.network, definition.task, average=False),
        _card(config, part, trained.config, data),
        identity={"codec": digest},
        finish=lambda: {**data.facts, "codec": digest},
    )


def _card(config: TrainConfig, part: str, shape: Vqvae1dConfig | Vqvae2dConfig, data: Data) -> cards.Card:
    """The prior's card, or a new one, with the settings that use the part."""
    if (config.out / cards.CARD).exists():
        card = cards.read(config.out)
    elif isinstance(shape, Vqvae2dConfig):
        card = cards.Card(
            name=config.out.resolve().name, medium="image", engine="lass", sources=config.sources
        )
    else:
        card = cards.Card(
            name=config.out.resolve().name,
            medium="audio",
            engine="lass",
            sources=config.sources,
            weights=data.weights,
            sample_rate=shape.sample_rate,
        )
    if isinstance(shape, Vqvae2dConfig):
        card = structs.replace(card, resolution=shape.size)
    settings = {**card.settings, "lass": {**USED.get(part, {}), **card.settings.get("lass", {})}}
    return structs.replace(card, settings=settings)
