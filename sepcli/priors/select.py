"""From names of priors and a few arguments to what separates: which cards, which engine, which sources.

Cards suffice for this: neither torch nor weights are loaded, so that a misspelt name is answered at once. A
card of an engine for all sources together (lass, variational) may name a score prior for each of its
sources; then either engine separates, with the name, sources and weights of that card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sepcli.catalog import resolve
from sepcli.catalog.card import COLORIZE, MOST_SOURCES, Card
from sepcli.catalog.index import score_priors
from sepcli.errors import PriorError, UsageError
from sepcli.priors.selection import LASS, SCORE, VARIATIONAL, Selection
from sepcli.samplers import names as sampler_names
from sepcli.separation.presets import DRAWS, ESTIMATE, preset_of
from sepcli.separation.weights import mixing_weights

OTHER = "other"
"""The name of the source that stands for all that no prior explains."""

Entries = list[tuple[Card, Path]]


def choose(
    priors: str | Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    sources: int | None = None,
    names: Sequence[str] | None = None,
    engine: str | None = None,
    sampler: str | None = None,
    settings: Mapping[str, Any] | None = None,
    other: bool = False,
    labels: Sequence[int | None] | None = None,
    colorize: Sequence[float] | None = None,
    samples: int = 1,
    preset: str | None = None,
) -> Selection:
    """Choose what separates.

    Args:
        priors: a name, folder or ``hf:owner/name[@revision]``; or one per source.
        weights: α_k of the mixing m = Σ α_k x_k; None: those of the cards, else 1 (audio) or 1/K (images).
        sources: K, of images with one prior for all sources.
        names: of the sources; None: those of the cards.
        engine: score, lass or variational; None: the one with the sampler, or with ``other``, else the
            card's.
        sampler: its name; None: the default one.
        settings: key → value, over the defaults: of sampler, posterior and engine, and of audio those of
            ``sepcli.separation.settings.StreamSettings``.
        other: add a last source for what no prior explains; of audio with score priors.
        labels: a class per source, of priors with classes; None: any.
        colorize: weights of red, green and blue in a gray image, whose colors are sampled.
        samples: number of samples; greedy search has one.
        preset: of score priors, estimate or draws; None: draws for several samples where the cards say that
            they are calibrated and no sampler is given, else estimate.

    Raises:
        PriorError: no such prior, it has not been fetched, or it does not colorize.
        UsageError: the arguments do not fit the priors or each other.
    """
    references = [priors] if isinstance(priors, str) else list(priors)
    if not references:
        raise UsageError("no prior is given", "give the name of one", argument="priors")
    resolved = {reference: resolve.find(reference) for reference in dict.fromkeys(references)}
    entries = [resolved[reference] for reference in references]
    card = entries[0][0]
    options = {"sampler": sampler, "settings": dict(settings or {}), "other": other}
    if card.medium == "audio":
        _refuse(card, labels=labels, sources=sources)
    if colorize is not None:
        selection = _colorizer(entries, colorize, options)
    elif card.medium == "image":
        selection = _images(entries, weights, sources, labels, engine, options)
    elif is_of_one_source(card):
        selection = _composed(entries, weights, engine, options)
    else:
        _refuse_several(entries, weights)
        selection = _together(*entries[0], engine, options)
    if card.medium == "image" and other:
        raise UsageError(f"{card.name} is a prior of images", "leave it out", argument="other")
    if samples > 1 and selection.default_sampler == "greedy":
        raise UsageError(
            f"greedy search finds one answer, not {samples}", "choose another sampler", argument="samples"
        )
    if selection.engine == SCORE:
        several = preset is None and sampler is None and samples > 1 and selection.draws_calibrated
        selection = replace(selection, preset=preset_of(DRAWS if several else preset, sampler))
    elif preset not in (None, ESTIMATE):
        raise UsageError(f"the engine {selection.engine} has no presets", "leave it out", argument="preset")
    return _renamed(selection, names)


def is_single(card: Card) -> bool:
    """Whether a card is of a score prior of one kind of audio source."""
    return (card.engine, card.medium, card.priors) == (SCORE, "audio", ())


def is_of_one_source(card: Card) -> bool:
    """Whether a card is of a prior of one kind of audio source, of signals or of tokens."""
    tokens = (card.engine, card.medium, len(card.sources)) == (LASS, "audio", 1)
    return is_single(card) or tokens


def source_names(cards: Sequence[Card]) -> tuple[str, ...]:
    """Return the name of each card's source, numbered where several have the same."""
    return _numbered([card.sources[0] for card in cards])


def add_other(names: Sequence[str], weights: Sequence[float]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return names and weights of K sources with those of ``other`` at the end.

    It has the weight of the others, or 1 where these differ, unless ``weights`` are K + 1.
    """
    alike = len(set(weights)) == 1
    added = (weights[0] if alike else 1.0,) if len(weights) == len(names) else ()
    return _numbered([*names, OTHER]), (*weights, *added)


def _engine_of(card: Card, folder: Path, engine: str | None, sampler: str | None, other: bool) -> str:
    """Return the engine that separates with a card."""
    main = next((name for name in card.engines if name != SCORE), SCORE)
    domains = {"signal": SCORE, "token": LASS}
    having = [name for domain, name in domains.items() if sampler in sampler_names(domain)]
    default = SCORE if other else having[0] if card.priors and having else card.engine
    chosen = engine or default
    if chosen == VARIATIONAL == main and sampler is not None:
        raise UsageError(
            f"the encoders of prior {card.name} have no sampler",
            f"leave it out, or choose the engine {SCORE}",
            argument="sampler",
        )
    if chosen not in (main, SCORE) or (chosen == SCORE != main and not score_priors(card, folder)):
        lacking = "without score priors" if chosen == SCORE else f"not {chosen}"
        raise UsageError(
            f"prior {card.name} is of the engine {main}, {lacking}",
            "leave engine and sampler out, or choose other priors: of score priors one per source",
            argument=OTHER if other and engine is None else "engine",
        )
    return chosen


def _selection(
    engine: str,
    prior: str,
    entries: Entries,
    mixing: tuple[tuple[str, ...], tuple[float, ...]],
    options: dict[str, Any],
) -> Selection:
    """Return what separates with the defaults of the first card, and names and weights of the sources."""
    cards, folders = zip(*entries, strict=True)
    defaults = cards[0].defaults(COLORIZE if options.get("colorize") else engine)
    return Selection(
        engine, prior, cards, folders, *mixing, stream=cards[0].stream, defaults=defaults, **options
    )


def _together(card: Card, folder: Path, engine: str | None, options: dict[str, Any]) -> Selection:
    """Return a prior of all sources of audio, or the score priors that it names."""
    other = options["other"]
    chosen = _engine_of(card, folder, engine, options["sampler"], other)
    mixing = card.sources, card.weights or (1.0,) * len(card.sources)
    entries = [(card, folder)]
    if chosen == SCORE:
        entries = [resolve.find(name) for name in score_priors(card, folder)]
        _check_single(entries, card)
    elif other:
        raise UsageError(
            f"prior {card.name} is of the engine {chosen}, which explains all of the mixture",
            f"leave it out, or choose the engine {SCORE}",
            argument="other",
        )
    selection = _selection(chosen, card.name, entries, add_other(*mixing) if other else mixing, options)
    if chosen != SCORE or other:
        return selection
    own = card.defaults(SCORE)  # of these sources alone
    together = {key: value for key, value in card.stream.items() if key == "confidence_excess"}
    stream = {**selection.stream, **together}
    return replace(selection, defaults={**selection.defaults, **own}, stream=stream, fit=card.fit)


def _composed(
    entries: Entries, weights: Sequence[float] | None, engine: str | None, options: dict[str, Any]
) -> Selection:
    """Return a prior for every source of audio."""
    owners, other = [card for card, _ in entries], options["other"]
    first = owners[0]
    if engine not in (None, first.engine):
        raise UsageError(
            f"prior {first.name} is of the engine {first.engine}, not {engine}",
            "leave the engine out, or choose another prior",
            argument="engine",
        )
    _check_single(entries, first, first.engine)
    score = first.engine == SCORE
    if other and not score:
        raise UsageError(
            f"prior {first.name} is of the engine {first.engine}, which explains all of the mixture",
            "leave it out, or choose score priors",
            argument="other",
        )
    if len(owners) + other < 2:
        raise UsageError(
            f"prior {first.name} is of {first.sources[0]} alone, a mixture has two sources or more",
            "give one prior per source" + (", or add the source other for all else" if score else ""),
            argument="priors",
        )
    of_cards = tuple(card.weights[0] if card.weights else 1.0 for card in owners)
    mixing = source_names(owners), mixing_weights(weights, of_cards, images=False, sources=len(owners))
    names, alphas = add_other(*mixing) if other else mixing
    if len(alphas) != len(names):
        raise UsageError(
            f"{len(alphas)} weights for {len(owners)} priors", "give one weight per prior", argument="weights"
        )
    return _selection(first.engine, "+".join(card.name for card in owners), entries, (names, alphas), options)


def _images(
    entries: Entries,
    weights: Sequence[float] | None,
    sources: int | None,
    labels: Sequence[int | None] | None,
    engine: str | None,
    options: dict[str, Any],
) -> Selection:
    """Return one prior for all images, or one for each."""
    cards = [card for card, _ in entries]
    for card in cards:
        if card.medium != "image":
            raise UsageError(f"prior {card.name} is not of images", "choose another", argument="priors")
    engines = [_engine_of(card, folder, engine, None, False) for card, folder in entries]
    chosen = engines[0]
    for card, name in zip(cards, engines, strict=True):
        if len(cards) > 1 and name != SCORE:
            raise UsageError(f"the prior {card.name} is of both sources", "give it alone", argument="priors")
    if chosen == SCORE and cards[0].priors:
        raise UsageError(f"prior {cards[0].name} names score priors", "give those", argument="priors")
    if weights is not None and sources not in (None, len(weights)):
        raise UsageError(
            f"{len(weights)} weights for {sources} sources", "give one of them", argument="weights"
        )
    count = len(weights) if weights is not None else sources or max(2, len(cards), len(cards[0].weights))
    if count > MOST_SOURCES:
        raise UsageError(f"{count} sources are too many", f"use up to {MOST_SOURCES}", argument="sources")
    if count < 2 or len(cards) not in (1, count):
        raise UsageError(
            f"{len(cards)} priors for {count} sources",
            "give one for all, or one per source",
            argument="priors",
        )
    if labels is not None and len(labels) != count:
        raise UsageError(
            f"{len(labels)} labels for {count} sources", "give one per source", argument="labels"
        )
    name = "+".join(dict.fromkeys(card.name for card in cards))
    alphas = mixing_weights(weights, cards[0].weights, images=True, sources=count)
    mixing = source_names(cards * (count // len(cards))), alphas
    selection = _selection(chosen, name, entries, mixing, {**options, "labels": tuple(labels or ())})
    as_calibrated = len(cards) == 1 and alphas == (0.5, 0.5) and not labels and chosen == SCORE
    return replace(selection, fit=cards[0].fit) if as_calibrated else selection


def _colorizer(entries: Entries, weights: Sequence[float], options: dict[str, Any]) -> Selection:
    """Return a score prior of color images, whose channels are the sources."""
    card = entries[0][0]
    if len(entries) > 1:
        raise UsageError("colorization takes one prior", "give one", argument="priors")
    if (card.engine, card.medium) != (SCORE, "image"):
        raise PriorError(
            f"prior {card.name} is not a score prior of images", "choose another", argument="priors"
        )
    names = ("red", "green", "blue")
    if len(weights) != len(names):
        raise UsageError(f"{len(weights)} weights for 3 channels", "give three", argument="colorize")
    return _selection(SCORE, card.name, entries, (names, tuple(weights)), {**options, "colorize": True})


def _check_single(entries: Entries, first: Card, engine: str = SCORE) -> None:
    for card, _ in entries:
        if card.engine != engine or not is_of_one_source(card):
            raise UsageError(
                f"prior {card.name} is of {card.engine}, {card.medium}, and does not mix with {first.name}",
                f"choose {engine} priors of one audio source each",
                argument="priors",
            )


def _refuse_several(entries: Entries, weights: Sequence[float] | None) -> None:
    card = entries[0][0]
    if len(entries) > 1:
        raise UsageError(
            f"prior {card.name} has all its sources: {', '.join(card.sources)}",
            "give it alone; several, one per source, are for images and for priors of one source each",
            argument="priors",
        )
    _refuse(card, weights=weights)


def _refuse(card: Card, **arguments: object) -> None:
    for argument in (name for name, value in arguments.items() if value is not None):
        raise UsageError(
            f"prior {card.name} separates {', '.join(card.sources)}", "leave it out", argument=argument
        )


def _renamed(selection: Selection, names: Sequence[str] | None) -> Selection:
    if names is None:
        return selection
    if not all(name.strip() for name in names):
        raise UsageError("a source has an empty name", "give each source a name", argument="names")
    if len(set(names)) != len(names) or len(names) != len(selection.names):
        raise UsageError(
            f"{len(names)} names for {len(selection.names)} sources",
            "give each source a name",
            argument="names",
        )
    return replace(selection, names=tuple(names))


def _numbered(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        f"{name}-{names[: k + 1].count(name)}" if names.count(name) > 1 else name
        for k, name in enumerate(names)
    )
