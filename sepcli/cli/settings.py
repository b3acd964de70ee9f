"""``--set key=value`` → settings of the stream and of the engine, over the card's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sepcli.errors import PriorError, UsageError

if TYPE_CHECKING:
    from sepcli.catalog.card import Card
    from sepcli.stream import StreamSettings

STREAM: Mapping[str, tuple[type[int] | type[float], float, float]] = {
    "draws": (int, 1, 1000),
    "window": (float, 0.05, 600),
    "overlap": (float, 0, 300),
    "batch": (int, 1, 4096),
    "exponent": (float, 0.01, 50),
    "fft_seconds": (float, 0.001, 1),
    "reference_rms": (float, 0.0001, 1),
}
"""What the stream may be told: kind, least, most; ``draws`` are the posterior draws of one set of stems."""


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
    if not least <= value <= most:
        whole = "whole " if kind is int else ""
        raise UsageError(
            f"{key}={word} is not a {whole}number from {least:g} to {most:g}",
            "leave it out for the prior's own",
        )
    return value


def stream_settings(stream: Mapping[str, Any], *, consistency: Any, samples: int) -> StreamSettings:
    """Settings for a file: ``samples`` > 1 keeps every draw, else ``draws`` of them make one set."""
    from sepcli.stream import StreamSettings

    rest = {key: value for key, value in stream.items() if key != "draws"}
    draws = samples if samples > 1 else int(stream.get("draws", 1))
    if consistency == "none" and samples == 1:
        draws = 1  # the bare first draw: an average of draws is no draw
    return StreamSettings(**rest, samples=draws, keep_samples=samples > 1, consistency=consistency)
