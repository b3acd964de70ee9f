"""From the card and folder of a LASS prior to the engine that separates with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch

from sepcli.catalog.bounded import Files
from sepcli.catalog.card import Card
from sepcli.catalog.network import read_config
from sepcli.errors import PriorError, UsageError
from sepcli.priors.lass.engine import LassEngine
from sepcli.priors.lass.gpt import GptPrior
from sepcli.priors.lass.load import (
    CODEC,
    FILES,
    TRANSFORMER,
    LassTransformer,
    check_sources,
    check_transformer,
    load_codec,
    load_context,
    load_latent,
    load_table,
    load_transformer,
    mixture_weights,
)
from sepcli.priors.lass.settings import DEFAULTS, LassSettings
from sepcli.priors.lass.transformer import TransformerPrior
from sepcli.priors.lass.vqvae1d import Vqvae1d
from sepcli.priors.precision import fast_type
from sepcli.priors.selection import Selection
from sepcli.samplers.construct import SAMPLER_OF, TokenSampler, token_sampler
from sepcli.settings import parse

ROWS: Mapping[str, int] = {"cuda": 16384}
"""Kind of device → hypotheses that are computed at once; elsewhere ``LassEngine.rows``."""
MOST_CACHE, MOST_VALUES = 1 << 31, 1 << 25
"""Bytes of the cache of an imported prior, and values of one source of all hypotheses, at once."""


def lass_engine(selection: Selection, device: torch.device) -> LassEngine:
    """Make the engine of a verified prior, with settings of the sampler and of ``LassSettings``.

    Raises:
        PriorError: a part is missing or damaged, or belongs to another codec or other sources.
        UsageError: an unknown sampler, setting or class, a value out of range, or unsuitable weights.
    """
    card, folder = selection.cards[0], selection.files[0]
    check_complete(card)
    sampler, settings = _settings(selection)
    codec, digest = load_codec(folder, card)
    transformer = load_transformer(folder).requires_grad_(False)
    check_transformer(card, transformer, codec, digest)
    if card.medium == "image":
        classes = transformer.config.sources[1:]
        chosen = _chosen(classes, selection.labels or (None,) * len(selection.weights))
        transformer = transformer.to(device).of(chosen)
    elif isinstance(transformer, TransformerPrior):
        transformer.step_type = fast_type(device)
    prior_of = partial(_prior_of, transformer) if len(selection.weights) > 2 else None
    latent = load_latent(folder, card, codec).to(device) if settings.latent > 0 else None
    if latent is not None:
        latent.product_type = fast_type(device)
    shape: tuple[int, ...] = (1,)
    if isinstance(codec, Vqvae1d):
        tokens = -(-codec.config.sample_rate // codec.config.hop)
    else:
        shape, tokens = codec.config.shape, codec.config.tokens
    return LassEngine(
        codec=codec.to(device),
        prior=transformer.to(device),
        table=load_table(folder, card, codec, digest),
        sampler=sampler,
        settings=settings,
        names=tuple(selection.names),
        weights=tuple(selection.weights),
        sample_rate=card.sample_rate,
        device=device,
        encoded=mixture_weights(card),
        channels=shape[0],
        size=shape[1:] or None,
        tokens=tokens,
        latent=latent,
        context=load_context(folder, card, codec, digest).to(device) if settings.context > 0 else None,
        rows=_rows(device, transformer, shape),
        prior_of=prior_of,
    )


def _settings(selection: Selection) -> tuple[TokenSampler, LassSettings]:
    """Return the sampler and the settings: the selection's, over the card's, over the medium's.

    A card may hold the settings of several samplers; those of another than the chosen one are left out.
    """
    card, defaults = selection.cards[0], dict(selection.defaults)
    default_sampler = str(defaults.pop("sampler", "ancestral"))
    name = default_sampler if selection.sampler is None else selection.sampler
    defaults = {key: value for key, value in defaults.items() if SAMPLER_OF.get(key, name) == name}
    sampler, rest = token_sampler(name, {**defaults, **selection.settings})
    settings = parse(LassSettings, {**DEFAULTS[card.medium], **rest})
    for key in ("latent", "context"):
        if getattr(settings, key) > 0 and (card.medium == "image" or len(card.sources) > 2):
            raise UsageError(f"{card.name} has no {key} likelihood", "leave it out", f"settings.{key}")
    return sampler, settings


def _prior_of(transformer: LassTransformer, sources: tuple[int, ...]) -> LassTransformer:
    """Return the prior of some of the sources of a prior, by their index among them."""
    return transformer.of(tuple(transformer.sources[k] for k in sources))


def _rows(device: torch.device, transformer: LassTransformer, shape: tuple[int, ...]) -> int:
    """Return the number of hypotheses at once, fewer where the cache or the sources of one are large."""
    most = ROWS.get(device.type, LassEngine.rows)
    of_cache = MOST_CACHE // max(1, transformer.row_bytes) if isinstance(transformer, GptPrior) else most
    return max(1, min(most, of_cache, MOST_VALUES // math.prod(shape)))


def describe_images(card: Card, folder: Files) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Return the shape (C, H, W) of a prior's images and its classes, without loading weights.

    Raises:
        PriorError: a config is missing or damaged.
    """
    codec, transformer = (read_config(folder / part) for part in (CODEC, TRANSFORMER))
    try:
        height, width = (int(side) for side in codec["size"])
        return (int(codec["channels"]), height, width), tuple(map(str, transformer["sources"][1:]))
    except (LookupError, TypeError, ValueError) as error:
        raise PriorError(
            f"the configs of prior {card.name} do not describe its images", "fetch or train the prior again"
        ) from error


def check_complete(card: Card) -> None:
    """Refuse a prior of unsuitable sources, or without a file that separation needs: PriorError."""
    check_sources(card)
    for name, hint in FILES.items():
        if name not in card.files:
            raise PriorError(f"prior {card.name} is not complete: its card lists no {name}", hint)


def _chosen(classes: Sequence[str], labels: Sequence[int | None]) -> tuple[int, ...]:
    """Return the network's source of each label: images of any class come first, then the classes."""
    for label in labels:
        if label is not None and not 0 <= label < len(classes):
            raise UsageError(
                f"the prior has no class {label}", "use a prior that was trained with classes", "labels"
            )
    return tuple(0 if label is None else label + 1 for label in labels)
