"""The page of one separation: its stems to listen to, or its images to look at.

All stems of a page start together on one clock, and are shown on the scale of the mixture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sepcli.pages.audio import (
    HIGHEST,
    LOWEST,
    RANGE,
    Scale,
    Signal,
    bitrate_for,
    encode_mp3,
    scale_of,
    spectrogram,
    spectrum,
    steps,
    waveform,
)
from sepcli.pages.image import Encoded, Pixels, encode_all, zoom_of
from sepcli.pages.shell import data_url, render, text_of

ROOM = 24_000_000
"""Bytes of clips, or of images, in a page."""
GREATEST = 30.0
"""Decibels of confidence at the top of its line."""


@dataclass(frozen=True)
class About:
    """What a page says of a separation.

    Attributes:
        title: name of the track.
        lead: a sentence on what was separated.
        warnings: sentences that stand out.
        settings: name → value, as texts.
        cards: name of a prior → its model card.
    """

    title: str
    lead: str
    warnings: Sequence[str] = ()
    settings: Sequence[tuple[str, str]] = ()
    cards: Sequence[tuple[str, str]] = ()

    def values(self) -> dict[str, Any]:
        """Return the values of a template."""
        return {
            "title": self.title,
            "lead": self.lead,
            "warnings": self.warnings,
            "settings": self.settings,
            "cards": self.cards,
        }


@dataclass(frozen=True)
class Voice:
    """A stem or the mixture.

    Attributes:
        name: of the stem.
        read: returns its first samples (T, C), of a number of them.
        confidence: per second, dB; None where it is silent; () if unknown.
    """

    name: str
    read: Callable[[int], Signal]
    confidence: Sequence[float | None] = ()


@dataclass(frozen=True)
class Group:
    """Voices that are listened to together: the mixture, or the stems of one sample.

    Attributes:
        title: as a heading.
        voices: in order.
        note: a line on it.
    """

    title: str
    voices: Sequence[Voice]
    note: str = ""


@dataclass(frozen=True)
class Row:
    """Images side by side: name → (C, H, W)."""

    title: str
    images: Sequence[tuple[str, Pixels]]
    note: str = ""


def audio_page(about: About, groups: Sequence[Group], rate: int, seconds: float, room: int = ROOM) -> str:
    """Return the page of a recording.

    Args:
        about: what the page says.
        groups: the mixture first, if there is one; the next is audible at first.
        rate: sample rate, Hz.
        seconds: duration.
        room: bytes of all clips; longer recordings have a lower bit rate, and are cut at last.
    """
    bitrate, kept = bitrate_for(seconds, sum(len(group.voices) for group in groups), room)
    frames = round(kept * rate)
    scale: Scale | None = None
    shown, number = [], 0
    chosen = min(1, len(groups) - 1)
    for index, group in enumerate(groups):
        voices = []
        for voice in group.voices:
            signal = voice.read(frames)
            power = spectrum(signal, rate)
            scale = scale or scale_of(signal, power)
            label = f"{voice.name}, {group.title}" if len(groups) > 1 else voice.name
            voices.append(
                {
                    "id": f"clip-{number}",
                    "name": voice.name,
                    "note": "",
                    "label": label,
                    "audible": index == chosen,
                    "wave": waveform(signal, scale),
                    "spectrogram": data_url("image/webp", spectrogram(power, scale)),
                    "confidence": json.dumps(list(voice.confidence)) if voice.confidence else "",
                    "steps": steps(voice.confidence, kept, GREATEST) if voice.confidence else "",
                    "error": "",
                    "data": text_of(encode_mp3(signal, rate, bitrate)),
                }
            )
            number += 1
        shown.append(
            {
                "id": f"group-{index}",
                "title": group.title,
                "note": group.note,
                "voices": voices,
                "chosen": index == chosen,
                "whole": len(groups) <= 2 or (index == 0 and len(group.voices) == 1),
            }
        )
    return render(
        "audio.html.j2",
        groups=shown,
        seconds=f"{kept:.3f}",
        legend=_legend(bitrate, rate, kept, seconds, groups),
        **about.values(),
    )


def _legend(bitrate: int, rate: int, kept: float, seconds: float, groups: Sequence[Group]) -> str:
    top = min(HIGHEST, rate / 2)
    parts = [
        f"Clips are MP3 of {bitrate // 1000} kbit/s (mono: three quarters of that), encoded for this page; "
        "the files beside it are the result.",
        f"Spectrograms: {LOWEST:g} to {top:,.0f} Hz, logarithmic; what is {RANGE:g} dB below the mixture's "
        "maximum is dark.",
    ]
    if kept < seconds:
        parts.insert(
            0, f"Only the first {kept:.0f} of {seconds:.0f} s are in this page, which would be too large."
        )
    if any(voice.confidence for group in groups for voice in group.voices):
        parts.append(
            f"The steps below a spectrogram are the confidence per second, 0 to {GREATEST:g} dB: how much "
            "stronger the stem is than the spread of the samples."
        )
    parts.append("Space plays, arrow keys move by 5 s, and a click on a spectrogram moves there.")
    return " ".join(parts)


def image_page(
    about: About,
    rows: Sequence[Row],
    before: Pixels | None = None,
    samples: Sequence[tuple[str, str, Pixels]] = (),
    room: int = ROOM,
) -> str:
    """Return the page of an image.

    Args:
        about: what the page says.
        rows: images to look at.
        before: the grayscale image, (1, H, W), of a colorization.
        samples: name, note and colors of its samples, (3, H, W).
        room: bytes of all images; large ones are reduced until they fit.
    """
    flat = [pixels for row in rows for _, pixels in row.images]
    flat += [pixels for _, _, pixels in samples] + ([before] if before is not None else [])
    encoded = encode_all(flat, room)
    left = iter(encoded)
    shown = [
        {
            "title": row.title,
            "note": row.note,
            "images": [_shown(name, f"{name}, {row.title}", next(left)) for name, _ in row.images],
        }
        for row in rows
    ]
    choices = [{**_shown(name, name, next(left)), "note": note} for name, note, _ in samples]
    if any(not one.exact for one in encoded):
        about = _compressed(about)
    return render(
        "images.html.j2",
        rows=shown,
        samples=choices,
        before=None if before is None else _shown("before", "before", next(left)),
        zoom=zoom_of(encoded),
        **about.values(),
    )


def _shown(name: str, label: str, image: Encoded) -> dict[str, Any]:
    return {"name": name, "label": label, "source": image.source, "width": image.width}


def _compressed(about: About) -> About:
    lead = f"{about.lead} Larger images are compressed in this page; the files beside it are the result."
    return About(about.title, lead, about.warnings, about.settings, about.cards)
