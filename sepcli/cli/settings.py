"""Texts of the command line as values: ``--set key=value``, ``--weights``, durations, formats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from sepcli.errors import UsageError
from sepcli.media import MediumName
from sepcli.settings import LONGEST


class AudioFormat(StrEnum):
    """What ``--format`` takes for audio; see ``sepcli.media.stem_format.Container``."""

    WAV = "wav"
    FLAC = "flac"
    MP3 = "mp3"
    OGG = "ogg"
    OPUS = "opus"
    M4A = "m4a"
    STEM_MP4 = "stem.mp4"


class ImageFormat(StrEnum):
    """What ``--format`` takes for images; see ``sepcli.media.image_writer.WRITERS``."""

    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"
    TIFF = "tiff"


Format = StrEnum("Format", {form.name: form.value for kind in (AudioFormat, ImageFormat) for form in kind})  # type: ignore[misc]
"""What ``--format`` takes where the medium is decided by the file."""


class BitDepth(StrEnum):
    """What ``--bit-depth`` takes; see ``sepcli.media.stem_format.Depth``."""

    PCM_16 = "16"
    PCM_24 = "24"
    FLOAT = "32f"


class Consistency(StrEnum):
    """What ``--consistency`` takes; see ``sepcli.separation.settings.Consistency``."""

    WIENER = "wiener"
    RESIDUAL = "residual"
    PROJECT = "project"
    NONE = "none"


CONSISTENCY = (
    "How stems come to sum to the mixture. wiener: masks on the mixture; residual: estimates, and masks "
    "on what they lack of it; project: estimates, and equal parts of that; none: raw estimates. Default: "
    "residual for priors trained with interference, otherwise wiener."
)
"""The help of ``--consistency``."""


def parse_repeated(pairs: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of ``key=value`` pairs by key, in order.

    Raises:
        UsageError: a pair is not of that form.
    """
    values: dict[str, list[str]] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals):
            raise UsageError(f"--set {pair} is not of the form key=value", "write for example --set steps=50")
        values.setdefault(key, []).append(value)
    return values


def parse_settings(pairs: Sequence[str]) -> dict[str, str]:
    """Return the last value of every key of ``key=value`` pairs; see ``parse_repeated``."""
    return {key: values[-1] for key, values in parse_repeated(pairs).items()}


def parse_weights(text: str, sources: int | None, least: int = 2) -> tuple[float, ...]:
    """Return the weights w_k of the mixture, as in ``0.5,0.5``.

    Args:
        text: numbers, separated by commas.
        sources: how many there have to be; any number if None.
        least: how few may be given; 1 if the weight of the source ``other`` may be left out.

    Raises:
        UsageError: not numbers, too few, a zero, or not as many as sources.
    """
    try:
        weights = tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise UsageError(f"--weights {text} are not numbers", "write for example 0.5,0.5") from error
    if len(weights) < least or not all(1e-6 <= abs(weight) <= 1e6 for weight in weights):
        raise UsageError(f"--weights {text} do not mix sources", "give a non-zero weight for every source")
    if sources not in (None, len(weights)):
        raise UsageError(f"{len(weights)} --weights for --sources {sources}", "leave out --sources")
    return weights


def parse_duration(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``40m`` or ``1.5h``.

    Raises:
        UsageError: the text is not of that form, or longer than a year.
    """
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d+)?)\s*([smh]?)\s*", text, re.ASCII)
    if not match or float(match[1]) == 0:
        raise UsageError(f"'{text}' is not a duration", "write for example 90s, 40m or 2h")
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
    if seconds > LONGEST:
        raise UsageError(f"'{text}' is longer than a year", "write for example 90s, 40m or 2h")
    return seconds


def refuse_other_format(chosen: str | None, medium: MediumName) -> None:
    """Refuse a value of ``--format`` that stems of a medium cannot have.

    Raises:
        UsageError: it is one of another medium.
    """
    kind = AudioFormat if medium == "audio" else ImageFormat
    if chosen is not None and chosen not in [form.value for form in kind]:
        raise UsageError(
            f"--format {chosen} is not for {medium}", f"choose {', '.join(kind)}, or leave it out"
        )
