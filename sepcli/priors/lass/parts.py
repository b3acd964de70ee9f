"""The networks over the tokens of a codec, ready to train: transformer, latent and context likelihood."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from sepcli.catalog import resolve
from sepcli.catalog.verified import verified
from sepcli.errors import PriorError
from sepcli.priors.lass.chunks import Data
from sepcli.priors.lass.context import ContextConfig, ContextLikelihood
from sepcli.priors.lass.latent import LatentConfig, LatentLikelihood
from sepcli.priors.lass.load import CODEC, TRANSFORMER, LassCodec, feature_width, load_transformer
from sepcli.priors.lass.options import CONTEXTS, LATENTS, TRANSFORMERS
from sepcli.priors.lass.tasks import LikelihoodTask, Loss, TransformerTask, context_nll, latent_nll
from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
from sepcli.priors.lass.vqvae1d import Vqvae1d
from sepcli.training.config import TrainConfig
from sepcli.training.run import Stage

Part = tuple[Any, Stage]
"""The sizes of a network, and its training."""


def transformer(
    sources: tuple[str, ...], config: TrainConfig, data: Data, codec: LassCodec, digest: str
) -> Part:
    """Make a transformer over the tokens of a codec, new or the trained one that ``config.init`` names."""
    if isinstance(codec, Vqvae1d):
        sizes = dict(TRANSFORMERS["audio"][config.preset])
    else:
        sizes = {**TRANSFORMERS["image"][config.preset], "context": codec.config.tokens}
    shape = TransformerConfig(codec.vocabulary, sources, **sizes)

    def network() -> TransformerPrior:
        if config.init is not None:
            return pretrained_transformer(config.init, shape, digest)
        fresh = TransformerPrior(shape)
        fresh.embed_codes(codec.quantizer.codebook)
        return fresh

    def task(model: TransformerPrior, _: TransformerPrior) -> TransformerTask:
        return TransformerTask(model, codec, data, config.batch)

    return shape, Stage(network, task, average=False)


def pretrained_transformer(prior: str, shape: TransformerConfig, digest: str) -> TransformerPrior:
    """Load a prior's transformer of these sizes and sources, over the tokens of the codec of this sha256.

    Raises:
        PriorError: there is no such prior, or it is of other sizes, sources or codec.
    """
    card, folder = resolve.find(prior)
    if not {f"{part}/model.safetensors" for part in (CODEC, TRANSFORMER)} <= card.files.keys():
        raise PriorError(f"prior {card.name} has no autoregressive prior", "give one of the engine lass")
    files = verified(card, folder)
    if card.files[f"{CODEC}/model.safetensors"].sha256 != digest:
        raise PriorError(
            f"prior {card.name} is over the tokens of another codec", "copy its codec/ into the folder first"
        )
    trained = load_transformer(files)
    if not isinstance(trained, TransformerPrior) or trained.config != shape:
        raise PriorError(
            f"prior {card.name} is of other sizes or sources than those to be trained",
            "give the preset, sources and classes that it was trained with",
        )
    return trained


def latent(config: TrainConfig, data: Data, codec: LassCodec, _: str) -> Part:
    """Make a likelihood of the latents of mixtures."""
    shape = LatentConfig(codec.vocabulary, codec.config.code_dim, **LATENTS[config.preset])

    def network() -> LatentLikelihood:
        likelihood = LatentLikelihood(shape)
        likelihood.codebook.copy_(codec.quantizer.codebook)
        return likelihood

    return shape, _likelihood(network, latent_nll, config, data, codec)


def context(config: TrainConfig, data: Data, codec: LassCodec, _: str) -> Part:
    """Make a likelihood of the mixture around a token."""
    shape = ContextConfig(codec.vocabulary, config.sources, feature_width(codec), **CONTEXTS[config.preset])

    def network() -> ContextLikelihood:
        likelihood = ContextLikelihood(shape)
        likelihood.order_codes(codec.quantizer.codebook)
        return likelihood

    return shape, _likelihood(network, partial(context_nll, world=config.world), config, data, codec)


def _likelihood(
    network: Callable[[], nn.Module],
    nll: Callable[..., Loss],
    config: TrainConfig,
    data: Data,
    codec: LassCodec,
) -> Stage:
    def task(model: nn.Module, _: nn.Module) -> LikelihoodTask:
        return LikelihoodTask(model, nll, codec, data, config.batch)

    return Stage(network, task, average=False)
