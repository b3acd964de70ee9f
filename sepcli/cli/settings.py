"""``--set key=value`` → settings of stream and engine, over the card's; ``--weights``; ``--consistency``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sepcli.errors import PriorError, UsageError

if TYPE_CHECKING:
    from sepcli.catalog.card import Card
    from sepcli.protocols import Engine
    from sepcli.separation.settings import StreamSettings

STREAM: Mapping[str, tuple[type[int] | type[float], float, float]] = {
    "draws": (int, 1, 1000),
    "window": (float, 0.05, 600),
    "overlap": (float, 0, 300),
    "batch": (int, 1, 4096),
    "exponent": (float, 0.01, 50),
    "fft_seconds": (float, 0.001, 1),
    "reference_rms": (float, 0.0001, 1),
}
"""What the stream may be told: kind, least, most; ``draws`` are the posterior draws of one set of stems. A
``reference_rms`` may also be 0: the mixture is left at its level."""


class Consistency(StrEnum):
    """What ``--consistency`` takes."""

    WIENER = "wiener"
    RESIDUAL = "residual"
    PROJECT = "project"
    NONE = "none"


CONSISTENCY = (
    "wiener: masks on the mixture; residual: estimates, and masks on what they lack of it; project: "
    "estimates, and equal parts of that; none: raw estimates. Default: residual where the priors have learnt "
    "what is not theirs, else wiener."
)
"""The help of ``--consistency``."""


def parse_settings(pairs: Sequence[str]) -> dict[str, str]:
    """``key=value`` words to a dict.

    Raises:
        UsageError: a word is not of that form.
    """
    settings: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key.strip() and equals):
            raise UsageError(f"--set {pair} is not of the form key=value", "write for example --set lam=2")
        settings[key.strip()] = value.strip()
    return settings


def parse_weights(text: str, sources: int | None, least: int = 2) -> tuple[float, ...]:
    """``0.5,0.5`` → the w_k of the file's mixture.

    Args:
        text: the words.
        sources: how many there have to be; any number if None.
        least: how few may be given; 1 if that of a rest is left out.

    Raises:
        UsageError: not numbers, too few, a zero, or not as many as sources.
    """
    try:
        weights = tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise UsageError(f"--weights {text} are not numbers", "write for example 0.5,0.5") from error
    if len(weights) < least or not all(1e-6 <= abs(w) <= 1e6 for w in weights):
        raise UsageError(f"--weights {text} do not mix", "give one per source, none of them 0")
    if sources not in (None, len(weights)):
        raise UsageError(f"{len(weights)} --weights for --sources {sources}", "leave out --sources")
    return weights


def split_settings(given: Mapping[str, str], card: Card) -> tuple[dict[str, Any], dict[str, str]]:
    """The stream's settings (the card's, overridden) and what is left for the engine.

    Raises:
        UsageError: a value is not a number, or out of range.
        PriorError: the card's own settings are not.
    """
    if unknown := card.stream.keys() - STREAM.keys():
        raise PriorError(
            f"the card of {card.name} has an unknown stream setting '{min(unknown)}'", "update sepcli"
        )
    try:
        stream = {key: _number(key, str(value)) for key, value in card.stream.items()}
    except UsageError as error:
        raise PriorError(f"the card of {card.name}: {error.message}", "restore the prior's folder") from error
    stream |= {key: _number(key, value) for key, value in given.items() if key in STREAM}
    return stream, {key: value for key, value in given.items() if key not in STREAM}


def _number(key: str, word: str) -> float:
    kind, least, most = STREAM[key]
    try:
        value = kind(word)
    except ValueError:
        value = math.nan
    if not (least <= value <= most or (key, value) == ("reference_rms", 0)):
        whole = "whole " if kind is int else ""
        raise UsageError(
            f"{key}={word} is not a {whole}number from {least:g} to {most:g}",
            "leave it out for the prior's own",
        )
    return value


def consistency_for(separator: Engine, asked: str | None) -> str:
    """What estimates of an engine are brought to sum to the mixture by, where nothing is asked for, too."""
    return str(asked or ("residual" if separator.interference_trained else "wiener"))


def stream_settings(stream: Mapping[str, Any], *, consistency: Any, samples: int) -> StreamSettings:
    """Settings for a file: ``samples`` > 1 keeps every draw, else ``draws`` of them make one set."""
    from sepcli.separation.settings import StreamSettings

    rest = {key: value for key, value in stream.items() if key != "draws"}
    if rest.get("reference_rms") == 0:
        rest["reference_rms"] = None
    draws = samples if samples > 1 else int(stream.get("draws", 1))
    if consistency == "none" and samples == 1:
        draws = 1  # the bare first draw: an average of draws is no draw
    return StreamSettings(**rest, samples=draws, keep_samples=samples > 1, consistency=consistency)
