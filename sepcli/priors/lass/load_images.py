"""Cards of the family ``lass`` whose priors are of images → separators.

Such a card has one source and no weights, as those of score priors of images: both sources are of that kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.catalog.build import (
    check_lass_files,
    check_prior,
    choose_sampler,
    load_prior,
    load_table,
    token_sampler,
)
from sepcli.catalog.card import Card
from sepcli.catalog.engines import source_names
from sepcli.catalog.network import load_network
from sepcli.catalog.settings import typed
from sepcli.errors import PriorError, UsageError
from sepcli.priors.lass.image_engine import LassImages
from sepcli.priors.lass.posterior import LassSettings
from sepcli.priors.lass.transformer import ChosenSources
from sepcli.priors.lass.vqvae2d import Vqvae2d, Vqvae2dConfig
from sepcli.samplers.refinement import Refinement
from sepcli.separation.weights import mixing_weights

ROWS = {"cuda": 16384}
"""Kind of device → hypotheses at once; others take ``LassImages.rows``."""


@dataclass(frozen=True)
class ImageSettings(LassSettings):
    """How candidates are drawn, and what is done with them.

    Attributes:
        candidates: see ``LassImages``.
        refine: steps of refinement.
        refine_rate: its learning rate.
        exact: whether the sources are made to sum to the mixture in the end.
        noise: how much of a candidate's error is let pass for a likelier one; see ``LassImages``.
    """

    candidates: int = LassImages.candidates
    refine: int = Refinement.steps
    refine_rate: float = Refinement.rate
    exact: bool = True
    noise: float = LassImages.noise


def load_image_codec(folder: Path) -> tuple[Vqvae2d, str]:
    """The codec of a prior of images and the sha256 of its weights, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    codec = load_network(lambda config: Vqvae2d(Vqvae2dConfig(**config)), folder / "codec")
    return codec.requires_grad_(False), cards.sha256(folder / "codec" / "model.safetensors")


def load_lass_images(
    prior: str,
    weights: Sequence[float],
    *,
    labels: Sequence[int | None] | None = None,
    device: str = "cpu",
    sampler: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> LassImages:
    """The separator of a prior for two sources of known weights.

    Args:
        prior: name or folder.
        weights: α_k, both the same.
        labels: a class per source, for priors that are conditioned on classes; None: any.
        device: where to compute.
        sampler: greedy, ancestral, top-k or beam; the card's own if None.
        settings: of ``LassSettings``, ``ImageSettings`` and the sampler, over the card's own.

    Raises:
        PriorError: it is missing, damaged or not complete.
        UsageError: it is not for such sources; an unknown sampler or setting.
    """
    card, folder = resolve.find(prior)
    cards.verify(card, folder)
    chosen, options = choose_sampler(card, sampler, settings or {})
    return build_lass_images(card, folder, torch.device(device), chosen, options, weights, labels)


def build_lass_images(
    card: Card,
    folder: Path,
    device: torch.device,
    sampler: str,
    options: Mapping[str, Any],
    weights: Sequence[float] | None = None,
    labels: Sequence[int | None] | None = None,
) -> LassImages:
    """The builder of ``catalog.build``; see ``load_lass_images``, for weights ``mixing_weights``."""
    check_lass_files(card)
    chosen, rest = token_sampler(sampler, options)
    own = ImageSettings(**typed(ImageSettings, rest))
    for likelihood in ("latent", "context"):
        if getattr(own, likelihood) > 0:
            raise UsageError(f"{card.name} has no {likelihood} likelihood", f"leave out --set {likelihood}")
    codec, digest = load_image_codec(folder)
    if codec.config.size != card.resolution:
        raise PriorError(
            f"the codec of {card.name} is not for images of its card's size", "train the prior again"
        )
    table = load_table(card, folder, codec.vocabulary, digest)
    prior = load_prior(folder).requires_grad_(False)
    check_prior(card, prior, prior.config.sources[:1], codec.vocabulary, digest)
    return LassImages(
        codec.to(device),
        ChosenSources(prior.to(device), _sources(prior.config.sources[1:], labels or (None, None))),
        table,
        chosen,
        own,
        source_names([card] * 2),
        mixing_weights(weights, card.weights, images=True, sources=2),
        device,
        Refinement(own.refine, own.refine_rate),
        own.candidates,
        own.exact,
        own.noise,
        ROWS.get(device.type, LassImages.rows),
    )


def _sources(classes: Sequence[str], labels: Sequence[int | None]) -> tuple[int, ...]:
    """Which of the network's sources each is: images of any class come first, then the classes.

    Raises:
        UsageError: there is no such class.
    """
    for label in labels:
        if label is not None and not 0 <= label < len(classes):
            raise UsageError(
                f"the prior has no class {label}", "Use a prior that was trained with --classes."
            )
    return tuple(0 if label is None else label + 1 for label in labels)
