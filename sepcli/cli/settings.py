"""``--set key=value`` → settings of the stream and of the engine, over the card's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.catalog.card import Card
    from sepcli.stream import StreamSettings

STREAM: Mapping[str, type] = {
    "draws": int,
    "window": float,
    "overlap": float,
    "batch": int,
    "exponent": float,
    "fft_seconds": float,
    "reference_rms": float,
}
"""What the stream may be told; ``draws`` is how many posterior draws one set of stems is made of."""


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
        UsageError: a value is not a number.
    """
    stream = dict(card.stream)
    for key in given.keys() & STREAM.keys():
        try:
            stream[key] = STREAM[key](given[key])
        except ValueError as error:
            raise UsageError(
                f"{key}={given[key]} is not a number", "write for example --set draws=4"
            ) from error
    return stream, {key: value for key, value in given.items() if key not in STREAM}


def stream_settings(stream: Mapping[str, Any], *, consistency: Any, samples: int) -> StreamSettings:
    """Settings for a file: ``samples`` > 1 keeps every draw, else ``draws`` of them make one set."""
    from sepcli.stream import StreamSettings

    rest = {key: value for key, value in stream.items() if key != "draws"}
    draws = samples if samples > 1 else int(stream.get("draws", 1))
    if consistency == "none" and samples == 1:
        draws = 1  # the bare first draw: an average of draws is no draw
    return StreamSettings(**rest, samples=draws, keep_samples=samples > 1, consistency=consistency)
