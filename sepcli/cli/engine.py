"""``--method`` and ``--prior`` → what separates: first a card, in an instant, then the separator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.catalog.card import Card
    from sepcli.protocols import Separator

DEFAULT_PRIOR = "slakh-drums-bass"
BLIND = "blind"
"""The family of the cards of methods without a prior."""


class Method(StrEnum):
    """What ``--method`` takes: a family of priors, or a method that needs none."""

    LASS = "lass"
    HPSS = "hpss"
    REPET = "repet"
    REPET_SIM = "repet-sim"
    FT2D = "ft2d"
    RPCA = "rpca"
    NMF = "nmf"
    ICA = "ica"

    @property
    def blind(self) -> bool:
        """Whether it needs no prior."""
        return self is not Method.LASS


def find_card(method: Method | None, prior: str | None, sampler: str | None = None, samples: int = 1) -> Card:
    """The prior's card, or one that says what a blind method separates.

    Raises:
        UsageError: the method has no use for the prior, the sampler or more than one draw.
        PriorError: no such prior.
    """
    from sepcli.catalog import card as cards

    if method is None or not method.blind:
        card, _ = cards.find(prior or DEFAULT_PRIOR)
        if method is not None and card.family != method:
            raise UsageError(
                f"prior {card.name} is not of the method {method} but of {card.family}",
                "leave out --method, or choose another --prior",
            )
        return card
    given = {"--prior": prior is not None, "--sampler": sampler is not None, "--samples": samples > 1}
    for option in (option for option, present in given.items() if present):
        raise UsageError(f"--method {method} has no use for {option}: it has no prior", f"leave out {option}")
    from sepcli import blind

    return cards.Card(
        method.value, BLIND, blind.SOURCES, blind.WEIGHTS, blind.SAMPLE_RATE, stream=blind.STREAM
    )


def compose(card: Card, priors: Sequence[str], weights: str | None, sources: int | None) -> Card:
    """What ``--prior`` and the other words on sources ask for, as one card.

    Args:
        card: of the first prior.
        priors: all words; several are for priors of one sound each.
        weights: ``0.5,0.5``, one per such prior; 1 each if None.
        sources: a word for pictures.

    Raises:
        UsageError: the words do not fit the card.
        PriorError: no such prior.
    """
    from sepcli.catalog import card as cards

    if card.family != cards.SOUND:
        if len(priors) > 1:
            raise UsageError(
                f"prior {card.name} brings all its sources along: {', '.join(card.sources)}",
                "give one --prior; several, one per source, are for pictures and for priors of one sound",
            )
        if sources or weights:
            raise UsageError(
                f"prior {card.name} separates {', '.join(card.sources)}", "leave out --sources and --weights"
            )
        return card
    if sources:
        raise UsageError("--sources is for pictures", "give --prior once per source")
    owners = [cards.find(word)[0] for word in priors]
    for other in owners:
        if other.family != cards.SOUND:
            raise UsageError(
                f"prior {other.name} is of {other.family} and does not mix with {card.name}",
                "choose priors of one sound each",
            )
    from sepcli.catalog.score import picture_names
    from sepcli.catalog.spectral import refuse_single
    from sepcli.cli.pictures import parse_weights

    if len(owners) == 1:
        refuse_single(card)
    alpha = parse_weights(weights, None) if weights else (1.0,) * len(owners)
    if len(alpha) != len(owners):
        raise UsageError(f"{len(alpha)} --weights for {len(owners)} --prior", "give one weight per prior")
    name = "+".join(owner.name for owner in owners)
    return replace(card, name=name, sources=picture_names(owners), weights=alpha)


def load(
    card: Card, prior: str | None, *, device: str, sampler: str | None, settings: Mapping[str, str]
) -> tuple[Separator, dict[str, Any]]:
    """The separator of a card from ``find_card``, and what a record says of it.

    Raises:
        UsageError: an unknown sampler, setting or device.
        PriorError: the prior is missing or damaged.
    """
    if card.family == BLIND:
        return _load_blind(card, device, settings)
    from sepcli.catalog.build import load_separator
    from sepcli.cli.device import choose_device

    place = str(choose_device(device))
    separator = load_separator(prior or DEFAULT_PRIOR, device=place, sampler=sampler, settings=settings)
    return separator, {
        "method": card.family,
        "prior": card.name,
        "files": {name: entry["sha256"] for name, entry in card.files.items()},
        "sampler": sampler or card.settings.get("sampler"),
        "settings": {**card.settings, **settings},
        "device": place,
    }


def load_composed(
    card: Card, priors: Sequence[str], *, device: str, sampler: str | None, settings: Mapping[str, str]
) -> tuple[Separator, dict[str, Any]]:
    """The separator of a card that ``compose`` made of several, and what a record says of it.

    Raises:
        UsageError: an unknown sampler, setting or device, or priors of different rates.
        PriorError: a prior is missing or damaged.
    """
    from sepcli.catalog import card as cards
    from sepcli.catalog import spectral
    from sepcli.cli.device import choose_device

    place = str(choose_device(device))
    separator = spectral.load_composed(priors, card.weights, device=place, sampler=sampler, settings=settings)
    return separator, {
        "method": card.family,
        "prior": card.name,
        "weights": card.weights,
        "files": {
            f"{source}/{name}": entry["sha256"]
            for source, word in zip(card.sources, priors, strict=True)
            for name, entry in cards.find(word)[0].files.items()
        },
        "sampler": sampler or card.settings.get("sampler", "projected"),
        "settings": {**card.settings, **settings, **vars(separator.inner.sampler)},
        "device": place,
    }


def _load_blind(card: Card, device: str, settings: Mapping[str, str]) -> tuple[Separator, dict[str, Any]]:
    if device not in ("auto", "cpu"):
        raise UsageError(f"--method {card.name} computes on the CPU, not on {device}", "leave out --device")
    for key in settings:
        raise UsageError(f"unknown setting '{key}'", f"--method {card.name} has no settings of its own")
    from sepcli.blind.separator import METHODS, BlindSeparator

    separator = BlindSeparator(card.name)
    return separator, {
        "method": card.name,
        "prior": None,
        "rule": METHODS[card.name].rule,
        "settings": {},
        "device": "cpu",
    }
