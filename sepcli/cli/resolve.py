"""``--method`` and ``--prior`` → what separates: first a card, in an instant, then the separator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sepcli.cli.settings import parse_weights
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.catalog.card import Card
    from sepcli.protocols import Engine

DEFAULT_PRIOR = "slakh-drums-bass"
BLIND = "baseline"
"""The engine of the cards of methods without a prior."""


class Method(StrEnum):
    """What ``--method`` takes: an engine for priors, or a method that needs none."""

    LASS = "lass"
    SCORE = "score"
    VARIATIONAL = "variational"
    LANGEVIN = "langevin"
    HPSS = "hpss"
    REPET = "repet"
    REPET_SIM = "repet-sim"
    FT2D = "ft2d"
    RPCA = "rpca"
    NMF = "nmf"
    CONVOLUTIVE_NMF = "convolutive-nmf"
    ICA = "ica"

    @property
    def blind(self) -> bool:
        """Whether it needs no prior."""
        return self not in (Method.LASS, Method.SCORE, Method.VARIATIONAL, Method.LANGEVIN)


def engine_of(method: Method | None, sampler: str | None) -> tuple[Method | None, str | None]:
    """``--method langevin`` in other words: the engine score with the sampler langevin.

    Raises:
        UsageError: another sampler was asked for besides.
    """
    if method is not Method.LANGEVIN:
        return method, sampler
    if sampler not in (None, "langevin"):
        raise UsageError(
            f"--method langevin and --sampler {sampler} contradict each other", "give one of them"
        )
    return Method.SCORE, "langevin"


def find_card(
    method: Method | None,
    prior: str | None,
    sampler: str | None = None,
    samples: int = 1,
    rest: bool = False,
) -> Card:
    """The prior's card for one engine (see ``sepcli.catalog.engines``), or what a blind method separates.

    Raises:
        UsageError: the method has no use for the prior, the sampler or a rest, or it knows one answer only.
        PriorError: no such prior.
    """
    from sepcli.catalog import card as cards
    from sepcli.catalog import resolve as catalog
    from sepcli.catalog.engines import with_engine

    if method is None or not method.blind:
        card, folder = catalog.find(prior or DEFAULT_PRIOR)
        card = with_engine(card, folder, None if method is None else method.value, sampler, rest)
        if rest and (card.engine, card.medium) != ("score", "audio"):
            raise UsageError(
                f"--other is for score priors of audio, and {card.name} is of {card.engine}, {card.medium}",
                "leave it out" + (", or --method lass" if card.engine == "lass" else ""),
            )
        if samples > 1 and (sampler or card.defaults(card.engine).get("sampler")) == "greedy":
            raise UsageError(
                f"greedy search finds one answer, not {samples}",
                "leave out --samples, or choose --sampler ancestral",
            )
        return card
    given = {"--prior": prior is not None, "--sampler": sampler is not None, "--samples": samples > 1}
    given["--other"] = rest
    for option in (option for option, present in given.items() if present):
        raise UsageError(f"--method {method} has no use for {option}: it has no prior", f"leave out {option}")
    from sepcli import baselines as blind

    return cards.Card(
        name=method.value,
        medium="audio",
        engine="baseline",
        sources=blind.SOURCES,
        weights=blind.WEIGHTS,
        sample_rate=blind.SAMPLE_RATE,
        stream=dict(blind.STREAM),
    )


def fitting_images(method: Method | None = None, sampler: str | None = None) -> tuple[str, ...]:
    """Return the names of the bundled priors of images that have an engine and a sampler, if given."""
    from sepcli.catalog import index
    from sepcli.catalog import resolve as catalog
    from sepcli.catalog.engines import SAMPLERS

    fitting = []
    for name in index.names():
        card, _ = catalog.find(name)
        if card.medium == "image" and method in (None, *card.engines):
            known = {one for engine in card.engines for one in SAMPLERS.get(engine, ())}
            if sampler is None or sampler in known:
                fitting.append(name)
    return tuple(fitting)


def compose(
    card: Card, priors: Sequence[str], weights: str | None, sources: int | None, rest: bool = False
) -> Card:
    """What ``--prior`` and the other words on sources ask for, as one card.

    Args:
        card: of the first prior, for one engine.
        priors: all words; several are for priors of one sound each.
        weights: ``0.5,0.5``, one per such prior, and one for the rest, or not; the priors' own if None.
        sources: a word for images.
        rest: add a source for what no prior explains.

    Returns:
        The card. Of score priors it names all sources and, in ``score``, the words for their priors.

    Raises:
        UsageError: the words do not fit the card.
        PriorError: no such prior.
    """
    from sepcli.catalog import resolve as catalog
    from sepcli.catalog.engines import add_rest, is_single, refuse_single, source_names
    from sepcli.separation.weights import mixing_weights

    if not is_single(card):
        if len(priors) > 1:
            raise UsageError(
                f"prior {card.name} brings all its sources along: {', '.join(card.sources)}",
                "give one --prior; several, one per source, are for images and for priors of one sound",
            )
        if sources or weights:
            raise UsageError(
                f"prior {card.name} separates {', '.join(card.sources)}", "leave out --sources and --weights"
            )
        names, alpha = card.sources, card.weights or (1.0,) * len(card.sources)
        if rest:
            names, alpha = add_rest(names, alpha)
        return replace(card, sources=names, weights=alpha)
    if sources:
        raise UsageError("--sources is for images", "give --prior once per source")
    owners = [catalog.find(word)[0] for word in priors]
    for other in owners:
        if not is_single(other):
            raise UsageError(
                f"prior {other.name} is of {other.engine}, {other.medium}, and does not mix with {card.name}",
                "choose priors of one sound each",
            )
    if len(owners) + rest < 2:
        refuse_single(card)
    of_cards = tuple(owner.weights[0] if owner.weights else 1.0 for owner in owners)
    given = parse_weights(weights, None, 2 - rest) if weights else None
    alpha = mixing_weights(given, of_cards, images=False, sources=len(owners))
    names = source_names(owners)
    if rest:
        names, alpha = add_rest(names, alpha)
    if len(alpha) != len(names):
        raise UsageError(f"{len(alpha)} --weights for {len(owners)} --prior", "give one weight per prior")
    name = "+".join(owner.name for owner in owners)
    return replace(card, name=name, sources=names, weights=alpha, priors=tuple(priors))


def load(
    card: Card, prior: str | None, *, device: str, sampler: str | None, settings: Mapping[str, str]
) -> tuple[Engine, dict[str, Any]]:
    """The separator of a card from ``find_card`` or ``compose``, and what a record says of it.

    Raises:
        UsageError: an unknown sampler, setting or device, or priors of different rates.
        PriorError: a prior is missing or damaged.
    """
    if card.engine == BLIND:
        return _load_blind(card, device, settings)
    if card.priors:
        return _load_composed(card, device, sampler, settings)
    from sepcli.catalog.build import load_separator
    from sepcli.cli.device import choose_device

    place = str(choose_device(device))
    separator = load_separator(
        prior or DEFAULT_PRIOR,
        method=card.engine if card.engine in (Method.LASS, Method.VARIATIONAL) else None,
        device=place,
        sampler=sampler,
        settings=settings,
    )
    return separator, {
        "method": card.engine,
        "prior": card.name,
        "files": {name: entry.sha256 for name, entry in card.files.items()},
        **separator.describe(),
        "device": place,
    }


def _load_composed(
    card: Card, device: str, sampler: str | None, settings: Mapping[str, str]
) -> tuple[Engine, dict[str, Any]]:
    from sepcli.catalog import resolve as catalog
    from sepcli.cli.device import choose_device
    from sepcli.priors.audio import load_denoisers as spectral

    place = str(choose_device(device))
    words = card.priors
    rest = len(card.sources) > len(words)
    separator = spectral.load_composed(
        words,
        card.weights,
        names=card.sources,
        rest=rest,
        device=place,
        sampler=sampler,
        settings=settings,
    )
    return separator, {
        "method": Method.SCORE.value,
        "prior": card.name,
        "weights": card.weights,
        "files": {
            f"{source}/{name}": entry.sha256
            for source, word in zip(card.sources, words, strict=False)
            for name, entry in catalog.find(word)[0].files.items()
        },
        **separator.describe(),
        "device": place,
    }


def _load_blind(card: Card, device: str, settings: Mapping[str, str]) -> tuple[Engine, dict[str, Any]]:
    if device not in ("auto", "cpu"):
        raise UsageError(f"--method {card.name} computes on the CPU, not on {device}", "leave out --device")
    for key in settings:
        raise UsageError(f"unknown setting '{key}'", f"--method {card.name} has no settings of its own")
    from sepcli.baselines import BASELINES
    from sepcli.baselines.engine import BaselineEngine

    separator = BaselineEngine(card.name)
    return separator, {
        "method": card.name,
        "prior": None,
        "rule": BASELINES[card.name].rule,
        **separator.describe(),
        "device": "cpu",
    }
