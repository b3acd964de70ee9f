"""``--set key=value`` → settings of stream and engine, over the card's; ``--weights``; ``--consistency``."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from sepcli.errors import UsageError

if TYPE_CHECKING:
    pass


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
