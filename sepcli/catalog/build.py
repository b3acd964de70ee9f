"""Card → separator. ``BUILDERS`` is the one dict that names the families."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.catalog.card import Card
from sepcli.catalog.engines import source_names, with_engine
from sepcli.priors.audio.load_denoisers import build_spectral, load_composed
from sepcli.priors.audio.load_encoders import build_variational
from sepcli.priors.images.load_score import build_score
from sepcli.priors.lass.build import build
from sepcli.priors.lass.engine import LassEngine
from sepcli.protocols import Engine
from sepcli.samplers.tokens import OWN_SETTINGS
from sepcli.separation.weights import mixing_weights


def load_separator(
    prior: str,
    *,
    method: str | None = None,
    device: str = "cpu",
    sampler: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Engine:
    """The separator of a prior: a bundled name or a folder; its files are verified against its card.

    Args:
        prior: name or folder.
        method: the engine, lass or score; None: the one that has the sampler, else the card's own.
        device: where to compute.
        sampler: overrides the card's.
        settings: ``--set key=value`` pairs, override the card's; an unknown key is an error.

    Raises:
        PriorError: missing, damaged or of an unknown family.
        UsageError: the prior is not for the method; unknown sampler or setting, or a value out of range.
    """
    found, folder = resolve.find(prior)
    card = with_engine(found, folder, method, sampler)
    if card.priors:
        return load_composed(
            card.priors,
            card.weights or None,
            names=card.sources,
            device=device,
            sampler=sampler,
            settings=settings,
        )
    cards.verify(card, folder)
    chosen, options = choose_sampler(card, sampler, settings or {})
    kind = "spectral" if (card.engine, card.medium) == ("score", "audio") else card.engine
    return BUILDERS[kind](card, folder, torch.device(device), chosen, options)


def choose_sampler(
    card: Card, sampler: str | None, settings: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """A sampler's name and all settings, from a card and from what was asked for, which overrides it."""
    own = card.defaults(card.engine)
    usual = str(own.pop("sampler", "ancestral"))
    chosen = usual if sampler is None else sampler
    # a card may hold the settings of several samplers; what was asked for by name is never ignored
    own = {key: value for key, value in own.items() if OWN_SETTINGS.get(key, chosen) == chosen}
    return chosen, {**own, **settings}


def build_lass(
    card: Card,
    folder: Path,
    device: torch.device,
    sampler: str,
    options: Mapping[str, Any],
    weights: Sequence[float] | None = None,
    labels: Sequence[int | None] | None = None,
) -> LassEngine:
    """The engine of a LASS prior of audio or images; see ``sepcli.priors.lass.build``."""
    images = card.medium == "image"
    return build(
        card,
        folder,
        weights=mixing_weights(weights, card.weights, images=images, sources=2),
        names=source_names([card] * 2) if images else card.sources,
        sampler=sampler,
        settings=options,
        labels=labels,
        device=device,
    )


Builder = Callable[[Card, Path, torch.device, str, Mapping[str, Any]], Engine]
"""(card, its folder, device, sampler, settings) → separator."""

BUILDERS: dict[str, Builder] = {
    "lass": build_lass,
    "score": build_score,
    "spectral": build_spectral,
    "variational": build_variational,
}
"""Family → builder."""
