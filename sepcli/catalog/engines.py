"""Which engine separates with a prior, and the names of its sources; from cards alone, without torch.

A card of the engine lass, or variational, may name score priors, one for each of its sources, in order::

    engine = "score"
    priors = ["slakh-drums", "slakh-bass"]

    [settings.lass]
    sampler = "ancestral"

These are names of the catalog or folders inside the card's own. ``engine`` is the default. Whichever separates,
name, sources and weights are those of the card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from msgspec.structs import replace

from sepcli.catalog import resolve
from sepcli.catalog.card import Card
from sepcli.catalog.index import score_priors
from sepcli.errors import UsageError

LASS, SCORE, VARIATIONAL = "lass", "score", "variational"
"""The engines: source separation among tokens, among signals, and by encoders of the mixture."""
SAMPLERS: Mapping[str, tuple[str, ...]] = {
    LASS: ("greedy", "ancestral", "top-k", "beam"),
    SCORE: ("projected", "halving", "langevin", "multi-source"),
}
"""Engine → names of its samplers."""
OTHER = "other"
"""What the source is called that stands for all that no prior explains."""


def with_engine(
    card: Card, folder: Path, method: str | None = None, sampler: str | None = None, rest: bool = False
) -> Card:
    """A prior's card for one engine.

    Args:
        card: from ``resolve.find``.
        folder: likewise.
        method: an engine; None: the one that has the sampler, or a rest, else the card's own.
        sampler: what was asked for by name.
        rest: whether there is to be a source for all else, which takes score priors.

    Returns:
        The card. If it names score priors and they are to be used, one of the engine score with their rate,
        settings and stream, and their names in ``priors``.

    Raises:
        UsageError: the prior is not for the method.
        PriorError: the first score prior is missing or has not been fetched.
    """
    own = next((engine for engine in card.engines if engine != SCORE), SCORE)
    if own == SCORE:
        if method not in (None, SCORE):
            raise UsageError(
                f"prior {card.name} is not of the method {method} but of {card.engine}",
                "leave out --method, or choose another --prior",
            )
        return card
    words = score_priors(card, folder)
    chosen = method or _usual(card, bool(words), sampler, rest)
    if chosen == VARIATIONAL == own and sampler is not None:
        raise UsageError(
            f"the encoders of prior {card.name} have no sampler",
            "leave out --sampler, or let its flows separate: --method score",
        )
    if chosen == own:
        return replace(card, engine=own, priors=())
    if chosen != SCORE:
        raise UsageError(
            f"prior {card.name} is not of the method {chosen} but of {own}",
            "leave out --method and --sampler, or choose another --prior",
        )
    if not words:
        raise UsageError(
            f"prior {card.name} is of {own} and names no score priors",
            "leave out --method and --other, or give a prior of one sound per source: --prior A --prior B",
        )
    first, _ = resolve.find(words[0])
    return replace(
        card,
        engine=SCORE,
        sample_rate=first.sample_rate,
        settings={own: {}, SCORE: first.defaults(SCORE)},
        stream=first.stream,
        priors=words,
    )


def is_single(card: Card) -> bool:
    """Whether a card is of a score prior of one kind of audio source."""
    return (card.engine, card.medium, card.priors) == (SCORE, "audio", ())


def source_names(owners: Sequence[Card]) -> tuple[str, ...]:
    """What each card calls its source, numbered where several are called alike."""
    return _numbered([card.sources[0] for card in owners])


def add_rest(names: Sequence[str], weights: Sequence[float]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Names and weights with those of the rest at the end.

    Args:
        names: of K sources.
        weights: of K, or of the rest, too; it is mixed like the others, or with 1 if these are mixed unlike.
    """
    alike = len(set(weights)) == 1
    own = (weights[0] if alike else 1.0,) if len(weights) == len(names) else ()
    return _numbered([*names, OTHER]), (*weights, *own)


PER_SOURCE = "give --prior once per source, as in --prior violin --prior cello, or add --other for all else"


def refuse_single(card: Card, hint: str = PER_SOURCE) -> NoReturn:
    """Say that a mixture has more than one source.

    Args:
        card: of one sound.
        hint: what to do where there is no second prior to be given.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        f"prior {card.name} knows {card.sources[0]} alone, and a mixture needs two sources or more",
        hint,
    )


def _usual(card: Card, scored: bool, sampler: str | None, rest: bool) -> str:
    """The engine where none was asked for by name."""
    if rest:
        return SCORE
    having = [engine for engine, names in SAMPLERS.items() if sampler in names]
    return having[0] if scored and having else card.engine


def _numbered(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        f"{name}-{names[: k + 1].count(name)}" if names.count(name) > 1 else name
        for k, name in enumerate(names)
    )
