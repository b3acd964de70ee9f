"""The networks over the tokens of a codec, ready to train: transformer, latent and context likelihood."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.errors import PriorError
from sepcli.priors.lass.context import ContextConfig, ContextLikelihood
from sepcli.priors.lass.latent import LatentConfig, LatentLikelihood
from sepcli.priors.lass.load import CODEC, TRANSFORMER, LassCodec, feature_width, load_transformer
from sepcli.priors.lass.open_chunks import Data
from sepcli.priors.lass.presets import CONTEXTS, LATENTS, TRANSFORMERS
from sepcli.priors.lass.tasks import LikelihoodTask, TransformerTask, context_nll, latent_nll
from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
from sepcli.priors.lass.vqvae2d import Vqvae2d
from sepcli.signal.mixing import WeightedSum
from sepcli.training.config import TrainConfig
from sepcli.training.loop import Task


class Part(NamedTuple):
    """A network over the tokens of a codec."""

    config: Any
    """Its sizes."""
    network: Callable[[], nn.Module]
    """Makes it with its first weights."""
    task: Callable[[Any, Any], Task]
    """See ``Stage``."""


def transformer(
    sources: tuple[str, ...], config: TrainConfig, data: Data, trained: LassCodec, digest: str
) -> Part:
    """Make a transformer over the tokens of a codec, new or the trained one that ``config.init`` names."""
    if isinstance(trained, Vqvae2d):
        sizes = {**TRANSFORMERS["image"][config.preset], "context": trained.config.tokens}
    else:
        sizes = dict(TRANSFORMERS["audio"][config.preset])
    shape = TransformerConfig(trained.vocabulary, sources, **sizes)
    codebook = trained.quantizer.codebook

    def network() -> TransformerPrior:
        if config.init is not None:
            return pretrained_transformer(config.init, shape, digest)
        fresh = TransformerPrior(shape)
        fresh.embed_codes(codebook)
        return fresh

    def task(model: TransformerPrior, _: TransformerPrior) -> TransformerTask:
        return TransformerTask(model, trained, data.train, data.held_out, config.batch)

    return Part(shape, network, task)


def pretrained_transformer(prior: str, shape: TransformerConfig, digest: str) -> TransformerPrior:
    """Load a trained transformer to be trained further.

    Args:
        prior: name or folder of a prior.
        shape: sizes and sources that the transformer must have.
        digest: sha256 of the codec that its tokens must be of.

    Raises:
        PriorError: there is no such prior, or it is of other sizes, sources or codec.
    """
    card, folder = resolve.find(prior)
    if not {f"{part}/model.safetensors" for part in (CODEC, TRANSFORMER)} <= card.files.keys():
        raise PriorError(f"prior {card.name} has no autoregressive prior", "give one of the engine lass")
    cards.verify(card, folder)
    if cards.sha256(folder / CODEC / "model.safetensors") != digest:
        raise PriorError(
            f"prior {card.name} is over the tokens of another codec", "copy its codec/ into the folder first"
        )
    trained = load_transformer(folder)
    if trained.config != shape:
        raise PriorError(
            f"prior {card.name} is of other sizes or sources than those to be trained",
            "give the preset, sources and classes that it was trained with",
        )
    return trained


def latent(config: TrainConfig, data: Data, trained: LassCodec, _: str) -> Part:
    """Make a likelihood of the latents of mixtures."""
    shape = LatentConfig(trained.vocabulary, trained.config.code_dim, **LATENTS[config.preset])

    def network() -> LatentLikelihood:
        likelihood = LatentLikelihood(shape)
        likelihood.codebook.copy_(trained.quantizer.codebook)
        return likelihood

    def task(model: LatentLikelihood, _: LatentLikelihood) -> LikelihoodTask:
        nll = partial(latent_nll, model, trained, WeightedSum(data.weights))
        return LikelihoodTask(model, nll, data.train, data.held_out, config.batch, config.device)

    return Part(shape, network, task)


def context(config: TrainConfig, data: Data, trained: LassCodec, _: str) -> Part:
    """Make a likelihood of the mixture around a token."""
    shape = ContextConfig(
        trained.vocabulary, config.sources, feature_width(trained), **CONTEXTS[config.preset]
    )

    def network() -> ContextLikelihood:
        likelihood = ContextLikelihood(shape)
        likelihood.order_codes(trained.quantizer.codebook)
        return likelihood

    def task(model: ContextLikelihood, _: ContextLikelihood) -> LikelihoodTask:
        nll = partial(context_nll, model, trained, WeightedSum(data.weights))
        return LikelihoodTask(model, nll, data.train, data.held_out, config.batch, config.device)

    return Part(shape, network, task)
