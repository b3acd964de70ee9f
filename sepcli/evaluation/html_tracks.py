"""The preview of a track in the page of a report: players or images, with scores, differences and errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from sepcli.evaluation.previews import MIXTURE, REFERENCE, Clip
from sepcli.evaluation.summary import Values
from sepcli.metrics import METRICS
from sepcli.pages.audio import Scale, encode_mp3, scale_of, spectrogram, spectrum, waveform
from sepcli.pages.image import encode_all
from sepcli.pages.shell import data_url, text_of

BITRATE = 96_000
"""Bits per second of the clips."""
IMAGES = 2_000_000
"""Bytes of the images of a track."""


@dataclass(frozen=True)
class Shown:
    """A track in a page.

    Attributes:
        id: of its element.
        track: its name.
        label: best, median, worst or nothing.
        groups: rows of clips, as the template takes them.
        seconds: length of the clips; empty for images.
        note: why there are no clips.
        size: bytes of the clips.
    """

    id: str
    track: str
    label: str
    groups: list[dict[str, Any]] = field(default_factory=list)
    seconds: str = ""
    note: str = ""
    size: int = 0


def show_track(
    key: str, track: str, label: str, clips: Sequence[Clip], values: Values, note: str = ""
) -> Shown:
    """Return a track with its clips: mixture, references, and every row's estimates with their errors."""
    if not clips:
        return Shown(key, track, label, note=note)
    audio = clips[0].rate > 0
    groups = (_audio if audio else _images)(key, track, clips, values)
    shown = [one for group in groups for one in group["voices" if audio else "images"]]
    size = sum(len(text) for one in shown for text in one.values() if isinstance(text, str))
    seconds = f"{max(len(clip.signal) / clip.rate for clip in clips):.3f}" if audio else ""
    return Shown(key, track, label, groups, seconds, note, size)


def scores_of(values: Values, track: str, row: str, stem: str) -> str:
    """Return the scores of an estimate, each with its difference to the first method's."""
    parts = []
    for metric, methods in values.items():
        if METRICS[metric].scope not in ("track", "item"):
            continue
        first = next(iter(methods))
        value = methods.get(row, {}).get(stem, {}).get(track, np.nan)
        base = methods[first].get(stem, {}).get(track, np.nan)
        if np.isnan(value):
            continue
        digits, unit = METRICS[metric].decimals, METRICS[metric].unit
        apart = "" if row == first or np.isnan(base) else f" ({value - base:+.{digits}f} to {first})"
        parts.append(f"{metric.upper()} {value:.{digits}f}{f' {unit}' if unit else ''}{apart}")
    return ", ".join(parts)


def _audio(key: str, track: str, clips: Sequence[Clip], values: Values) -> list[dict[str, Any]]:
    """Groups of voices on the scale of the first clip; the first row of estimates is audible at first."""
    references = {clip.stem: clip.signal for clip in clips if clip.row == REFERENCE}
    rows = [*dict.fromkeys(clip.row for clip in clips)]
    audible = next((row for row in rows if row not in (MIXTURE, REFERENCE)), rows[0])
    groups: list[dict[str, Any]] = []
    scale: Scale | None = None
    for row, members in groupby(clips, lambda clip: clip.row):
        voices: list[dict[str, Any]] = []
        for clip in members:
            power = spectrum(clip.signal, clip.rate)
            scale = scale or scale_of(clip.signal, power)
            reference = references.get(clip.stem) if row not in (MIXTURE, REFERENCE) else None
            voices.append(
                {
                    "id": f"{key}-{len(groups)}-{len(voices)}",
                    "name": clip.stem,
                    "note": scores_of(values, track, row, clip.stem),
                    "label": clip.stem if row == clip.stem else f"{clip.stem}, {row}",
                    "audible": row == audible,
                    "wave": waveform(clip.signal, scale),
                    "spectrogram": data_url("image/webp", spectrogram(power, scale)),
                    "confidence": "",
                    "steps": "",
                    "error": _error(clip, reference, scale),
                    "data": text_of(encode_mp3(clip.signal, clip.rate, BITRATE)),
                }
            )
        groups.append(
            {
                "id": f"{key}-{len(groups)}",
                "title": row,
                "note": "",
                "voices": voices,
                "chosen": row == audible,
                "whole": row == MIXTURE and len(voices) == 1,
            }
        )
    return groups


def _error(clip: Clip, reference: Any, scale: Scale) -> str:
    """The spectrogram of estimate minus reference; empty where there is none of the same shape."""
    if reference is None or reference.shape != clip.signal.shape:
        return ""
    return data_url("image/webp", spectrogram(spectrum(clip.signal - reference, clip.rate), scale))


def _images(key: str, track: str, clips: Sequence[Clip], values: Values) -> list[dict[str, Any]]:
    """Groups of images, with the absolute errors of the estimates."""
    references = {clip.stem: clip.signal for clip in clips if clip.row == REFERENCE}
    named = [*_with_errors(clips, references)]
    encoded = encode_all([pixels for *_, pixels in named], IMAGES)
    shown = [(row, name, stem, image) for (row, name, stem, _), image in zip(named, encoded, strict=True)]
    return [
        {
            "title": row,
            "images": [
                {
                    "name": name,
                    "note": scores_of(values, track, row, stem) if name == stem else "",
                    "label": f"{name}, {row}",
                    "source": image.source,
                    "width": image.width,
                }
                for _, name, stem, image in members
            ],
        }
        for row, members in groupby(shown, lambda one: one[0])
    ]


def _with_errors(clips: Sequence[Clip], references: dict[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    for clip in clips:
        yield clip.row, clip.stem, clip.stem, clip.signal
        reference = references.get(clip.stem)
        if clip.row in (MIXTURE, REFERENCE) or reference is None or reference.shape != clip.signal.shape:
            continue
        yield clip.row, f"error of {clip.stem}", clip.stem, np.abs(clip.signal - reference)
