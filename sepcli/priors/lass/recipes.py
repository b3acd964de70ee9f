"""Training of the parts of LASS for audio: codec, transformer over its tokens, and likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from msgspec import structs
from torch import nn

from sepcli.catalog import card as cards
from sepcli.datasets.song_banks import open_songs
from sepcli.datasets.stems import StemBank
from sepcli.errors import InputError, UsageError
from sepcli.priors.lass.context import ContextConfig, ContextLikelihood
from sepcli.priors.lass.latent import LatentConfig, LatentLikelihood
from sepcli.priors.lass.options import AudioOptions
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
from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
from sepcli.priors.lass.vqvae1d import SPECTRAL_SIZES, Vqvae1d, Vqvae1dConfig
from sepcli.protocols import ProgressCallback
from sepcli.signal.mixing import WeightedSum
from sepcli.training.config import TrainConfig
from sepcli.training.loop import Task
from sepcli.training.run import OnMessage, Recipe, Setup, Stage

SOURCES = ("drums", "bass")
"""The sources of a prior, unless others are named."""
CODEC, TRANSFORMER, LATENT, CONTEXT = "codec", "transformer", "latent", "context"
"""The folders of the parts."""
USED: Mapping[str, Mapping[str, Any]] = {
    LATENT: {"latent": 0.5, "lam": 0.25},
    CONTEXT: {"context": 1.0, "shortlist": 32, "lam": 0.25},
}
"""Settings of LASS by which a trained likelihood is used, unless the card has its own."""


class _Part(NamedTuple):
    """A network over the tokens of a codec, and its training."""

    config: Any
    network: Callable[[], nn.Module]
    task: Callable[[Any, Any], Task]


Make = Callable[[TrainConfig, Vqvae1d, str, StemBank, StemBank], _Part]
"""(config, codec, sha256 of the codec, training songs, held-out songs) → a part."""


def codec(options: AudioOptions, config: TrainConfig) -> Recipe:
    """Decide how a codec is trained.

    Raises:
        UsageError: chunks too short, or other sources than the prior's.
    """
    shape = Vqvae1dConfig(**CODEC_PRESETS[config.preset])
    if config.tokens * shape.hop <= max(SPECTRAL_SIZES) // 2:
        raise UsageError(
            f"chunks of {config.tokens} tokens are too short", "use 32 tokens or more", argument="tokens"
        )
    return _recipe(config, CODEC, partial(_open_codec, shape))


def transformer(options: AudioOptions, config: TrainConfig) -> Recipe:
    """Decide how a transformer over the tokens of a codec is trained.

    Raises:
        UsageError: other sources than the prior's.
    """
    return _recipe(config, TRANSFORMER, partial(_open_part, TRANSFORMER, _transformer))


def latent(options: AudioOptions, config: TrainConfig) -> Recipe:
    """Decide how a likelihood of the mixture's latents is trained.

    Raises:
        UsageError: other sources than the prior's, or more than two.
    """
    return _recipe(config, LATENT, partial(_open_part, LATENT, _latent), pair=True)


def context(options: AudioOptions, config: TrainConfig) -> Recipe:
    """Decide how a likelihood of the mixture around a token is trained.

    Raises:
        UsageError: other sources than the prior's, or more than two.
    """
    return _recipe(config, CONTEXT, partial(_open_part, CONTEXT, _context), pair=True)


def _recipe(config: TrainConfig, part: str, opened: Callable[..., Setup], pair: bool = False) -> Recipe:
    config = replace(config, sources=config.sources or SOURCES)
    if pair and len(config.sources) != 2:
        raise UsageError(
            f"LASS separates two sources, {len(config.sources)} are given", "name two", argument="sources"
        )
    if (config.out / "card.toml").exists():
        card = cards.read(config.out)
        if card.sources != config.sources:
            raise UsageError(
                f"{config.out} is a prior of {', '.join(card.sources)}, not of {', '.join(config.sources)}",
                f"name the sources {','.join(card.sources)}, or choose another folder",
                argument="sources",
            )
    return Recipe(part, config.sources, {}, partial(opened, config), alone=False)


def _open_codec(
    shape: Vqvae1dConfig,
    config: TrainConfig,
    on_progress: ProgressCallback | None,
    on_message: OnMessage | None,
) -> Setup:
    train, held_out = _songs(config, shape)
    _check_long_enough(held_out, VALIDATED * shape.sample_rate)

    def task(model: Vqvae1d, _: Vqvae1d) -> CodecTask:
        return CodecTask(model, train, held_out, _weights(config), config.batch, config.tokens)

    stage = Stage(lambda: Vqvae1d(shape), task, average=False)
    return Setup(shape, stage, _card(config, CODEC, shape), finish=lambda: _facts(config, train))


def _open_part(
    part: str,
    make: Make,
    config: TrainConfig,
    on_progress: ProgressCallback | None,
    on_message: OnMessage | None,
) -> Setup:
    trained, digest = audio_codec(config.out)
    trained = trained.to(config.device)
    train, held_out = _songs(config, trained.config)
    _check_long_enough(held_out, config.tokens * trained.config.hop)
    made = make(config, trained, digest, train, held_out)
    return Setup(
        made.config,
        Stage(made.network, made.task, average=False),
        _card(config, part, trained.config),
        identity={"codec": digest},
        finish=lambda: {**_facts(config, train), "codec": digest},
    )


def _latent(config: TrainConfig, trained: Vqvae1d, digest: str, train: StemBank, held_out: StemBank) -> _Part:
    shape = LatentConfig(trained.vocabulary, trained.config.code_dim, **LATENT_PRESETS[config.preset])

    def network() -> LatentLikelihood:
        likelihood = LatentLikelihood(shape)
        likelihood.codebook.copy_(trained.quantizer.codebook)
        return likelihood

    def task(model: LatentLikelihood, _: LatentLikelihood) -> LikelihoodTask:
        nll = partial(latent_nll, model, trained, WeightedSum(_weights(config)))
        return _likelihood_task(model, nll, config, trained, train, held_out)

    return _Part(shape, network, task)


def _context(
    config: TrainConfig, trained: Vqvae1d, digest: str, train: StemBank, held_out: StemBank
) -> _Part:
    shape = ContextConfig(
        trained.vocabulary, config.sources, trained.config.dim, **CONTEXT_PRESETS[config.preset]
    )

    def network() -> ContextLikelihood:
        likelihood = ContextLikelihood(shape)
        likelihood.order_codes(trained.quantizer.codebook)
        return likelihood

    def task(model: ContextLikelihood, _: ContextLikelihood) -> LikelihoodTask:
        nll = partial(context_nll, model, trained, WeightedSum(_weights(config)))
        return _likelihood_task(model, nll, config, trained, train, held_out)

    return _Part(shape, network, task)


def _transformer(
    config: TrainConfig, trained: Vqvae1d, digest: str, train: StemBank, held_out: StemBank
) -> _Part:
    shape = TransformerConfig(trained.vocabulary, config.sources, **PRIOR_PRESETS[config.preset])

    def network() -> TransformerPrior:
        return new_prior(shape, trained.quantizer.codebook, digest, config.init)

    def task(model: TransformerPrior, _: TransformerPrior) -> PriorTask:
        return PriorTask(model, trained, train, held_out, config.batch, config.tokens)

    return _Part(shape, network, task)


def _likelihood_task(
    model: nn.Module,
    nll: Callable[..., Any],
    config: TrainConfig,
    trained: Vqvae1d,
    train: StemBank,
    held_out: StemBank,
) -> LikelihoodTask:
    length = config.tokens * trained.config.hop
    return LikelihoodTask(model, nll, train, held_out, config.batch, length, config.device)


def _songs(config: TrainConfig, shape: Vqvae1dConfig) -> tuple[StemBank, StemBank]:
    """Open training songs, long enough for the chunks, and held-out ones."""
    train, held_out = (
        open_songs(config.data, split, config.sources, shape.sample_rate, config.cache)
        for split in ("train", "validation")
    )
    _check_long_enough(train, config.tokens * shape.hop)
    return train, held_out


def _check_long_enough(bank: StemBank, length: int) -> None:
    for name, spans in zip(bank.names, bank.spans, strict=True):
        if int((spans[:, 1] - spans[:, 0]).max(initial=0)) < length:
            raise InputError(
                f"no recording of {name} is long enough for chunks of {length / bank.sample_rate:.1f} s",
                "use longer recordings or fewer tokens",
            )


def _weights(config: TrainConfig) -> tuple[float, ...]:
    return (1 / len(config.sources),) * len(config.sources)


def _card(config: TrainConfig, part: str, shape: Vqvae1dConfig) -> cards.Card:
    """Return the prior's card, or a new one, with the settings that use the part."""
    if (config.out / "card.toml").exists():
        card = cards.read(config.out)
    else:
        card = cards.Card(
            name=config.out.resolve().name,
            medium="audio",
            engine="lass",
            sources=config.sources,
            weights=_weights(config),
            sample_rate=shape.sample_rate,
        )
    settings = {**USED.get(part, {}), **card.defaults("lass")}
    return structs.replace(card, settings={**card.settings, "lass": settings})


def _facts(config: TrainConfig, train: StemBank) -> dict[str, Any]:
    hours = {name: round(s / 3600, 2) for name, s in zip(config.sources, train.seconds, strict=True)}
    return {"hours_of_data": hours}
