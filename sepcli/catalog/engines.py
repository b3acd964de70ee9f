"""Which engine separates with a prior, and what its sources are called; from cards alone, without torch.

A card of the family lass, or variational, may name score priors, one for each of its sources, in order::

    [score]
    priors = ["slakh-drums", "slakh-bass"]

    [settings]
    method = "score"

These are words of the catalog or folders inside the card's own. ``method`` is the engine where none is asked
for; it is the card's family if the card does not say. Whichever it is, name, sources and weights are those of
the card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from sepcli.catalog import card as cards
from sepcli.catalog.card import Card
from sepcli.errors import UsageError

LASS, SCORE, VARIATIONAL = cards.LASS, "score", cards.VARIATIONAL
"""The engines: source separation among tokens, among signals, and by encoders of the mixture."""
SAMPLERS: Mapping[str, tuple[str, ...]] = {
    LASS: ("greedy", "ancestral", "top-k", "beam"),
    SCORE: ("projected", "halving", "langevin", "multi-source"),
}
"""Engine → names of its samplers."""
REST = "rest"
"""What the source is called that stands for all that no prior explains."""


def with_engine(
    card: Card, folder: Path, method: str | None = None, sampler: str | None = None, rest: bool = False
) -> Card:
    """A prior's card for one engine.

    Args:
        card: from ``cards.find``.
        folder: likewise.
        method: an engine; None: the one that has the sampler, or a rest, else the card's own.
        sampler: what was asked for by name.
        rest: whether there is to be a source for all else, which takes score priors.

    Returns:
        The card. If it names score priors and they are to be used, one of the family ``cards.SOUND`` with
        their rate, settings and stream, and their words in ``score``.

    Raises:
        UsageError: the prior is not for the method.
        PriorError: the first score prior is missing or has not been fetched.
    """
    if card.family not in (LASS, VARIATIONAL):
        of_score = method == SCORE and card.family in (cards.IMAGES, cards.SOUND)
        if method not in (None, card.family) and not of_score:
            raise UsageError(
                f"prior {card.name} is not of the method {method} but of {card.family}",
                "leave out --method, or choose another --prior",
            )
        return card
    words = score_priors(card, folder)
    chosen = method or _usual(card, bool(words), sampler, rest)
    if chosen == VARIATIONAL == card.family and sampler is not None:
        raise UsageError(
            f"the encoders of prior {card.name} have no sampler",
            "leave out --sampler, or let its flows separate: --method score",
        )
    if chosen == card.family:
        return replace(card, settings={k: v for k, v in card.settings.items() if k != "method"}, score={})
    if chosen != SCORE:
        raise UsageError(
            f"prior {card.name} is not of the method {chosen} but of {card.family}",
            "leave out --method and --sampler, or choose another --prior",
        )
    if not words:
        raise UsageError(
            f"prior {card.name} is of {card.family} and names no score priors",
            "leave out --method and --rest, or give a prior of one sound per source: --prior A --prior B",
        )
    first, _ = cards.find(words[0])
    return replace(
        card,
        family=cards.SOUND,
        sample_rate=first.sample_rate,
        settings=first.settings,
        stream=first.stream,
        score={"priors": words},
    )


def score_priors(card: Card, folder: Path | None) -> tuple[str, ...]:
    """The words for the score priors that a card names, to be looked up with ``cards.find``; () if none.

    Args:
        card: of the family lass or variational.
        folder: of the card; None: it is not known, and priors inside it are left out.
    """
    inner, found = inner_priors(card), []
    for word in card.score.get("priors", ()):
        if word not in inner:
            found.append(word)
        elif folder is not None:
            found.append(str(folder / word))
    return tuple(found)


def inner_priors(card: Card) -> tuple[str, ...]:
    """The score priors of a card that are folders inside its own, as they are called there, each once."""
    known, words = {*cards.names(), *cards.remote_names()}, card.score.get("priors", ())
    return tuple(dict.fromkeys(w for w in words if w not in known and not w.startswith(cards.HUB)))


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
    return _numbered([*names, REST]), (*weights, *own)


PER_SOURCE = "give --prior once per source, as in --prior violin --prior cello, or add --rest for all else"


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
    return having[0] if scored and having else str(card.settings.get("method", card.family))


def _numbered(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        f"{name}-{names[: k + 1].count(name)}" if names.count(name) > 1 else name
        for k, name in enumerate(names)
    )
