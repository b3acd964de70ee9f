"""Any prior of images → a separator, whichever its engine: score priors, or LASS."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.catalog.build import build_lass, choose_sampler
from sepcli.errors import UsageError
from sepcli.priors.images import load_score as score
from sepcli.priors.lass.load import load_codec, load_transformer, signal_shape
from sepcli.protocols import Engine


def load_images(
    priors: Sequence[str],
    weights: Sequence[float],
    *,
    labels: Sequence[int | None] | None = None,
    device: str = "cpu",
    sampler: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Engine:
    """A separator of images, K sources of known weights; see ``score.load_images``.

    Raises:
        PriorError: a prior is missing, damaged or not of images.
        UsageError: the numbers of priors, weights and labels differ; an unknown sampler or setting; or one of
            several priors is of LASS, or there is one and the sources are not two of equal weight.
    """
    of_tokens = [name for name in dict.fromkeys(priors) if of_lass(name)]
    if of_tokens and len(priors) > 1:
        raise UsageError(f"the prior {of_tokens[0]} is of both sources", "give it alone, one --prior")
    if of_tokens:
        card, folder = resolve.find(of_tokens[0])
        cards.verify(card, folder)
        chosen, options = choose_sampler(card, sampler, settings or {})
        return build_lass(card, folder, torch.device(device), chosen, options, weights, labels)
    return score.load_images(
        priors, weights, labels=labels, device=device, sampler=sampler, settings=settings
    )


def known_images(prior: str) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """What a prior, a name or a folder, is of: channels, height and width, and the names of its classes.

    Raises:
        PriorError: it is missing, damaged or not of images.
    """
    if not of_lass(prior):
        card, folder = resolve.find(prior)
        parts = [folder / part for part in score.NETWORKS if (folder / part).is_dir()]
        known = read_config(parts[0]) if parts and card.medium == "image" else None
        if known is not None:
            return known
        _, folder = score.open_card(prior)
        config = score.load_image_prior(folder).config
        return (config.channels, config.size[0], config.size[1]), tuple(config.classes)
    card, folder = resolve.find(prior)
    cards.verify(card, folder)
    channels, height, width = signal_shape(load_codec(folder, card)[0])
    return (channels, height, width), load_transformer(folder).config.sources[1:]


def read_config(part: Path) -> tuple[tuple[int, int, int], tuple[str, ...]] | None:
    """Read the shape and the classes of images from a network's config alone; None: it is damaged."""
    try:
        config = json.loads((part / "config.json").read_text(encoding="utf-8"))
        height, width = config["size"]
        shape = int(config["channels"]), int(height), int(width)
        return shape, tuple(map(str, config.get("classes", ())))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def of_lass(prior: str) -> bool:
    """Whether a prior, a name or a folder, is of LASS and of images.

    Raises:
        PriorError: there is no such prior.
    """
    card, _ = resolve.find(prior)
    return (card.engine, card.medium) == ("lass", "image")
