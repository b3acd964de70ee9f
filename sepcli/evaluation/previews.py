"""A preview of a track, small enough to be part of a page."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

SECONDS = 8.0
"""Seconds of audio that are kept of a track, from its middle."""
LARGEST = 512
"""Pixels of the longer side of an image; larger ones are scaled down."""
REFERENCE = "reference"
"""The row of the true sources."""
MIXTURE = "mixture"


class Clip(NamedTuple):
    """A preview of a method's estimate of a stem."""

    row: str
    stem: str
    mime: str
    data: bytes


ClipsOf = Callable[[str], list[Clip]]
"""Returns the clips of a track, by its name; may raise ``SepError`` and take as long as a separation."""
Encode = Callable[[NDArray[np.float32]], tuple[str, bytes]]
"""Signal → MIME type and bytes."""


def clips_of_rows(
    stems: Sequence[str],
    mixture: NDArray[np.float32],
    rows: Mapping[str, Iterable[NDArray[np.float32]]],
    encode: Encode,
) -> list[Clip]:
    """Return clips of the mixture, then row by row of the K stems; ``REFERENCE`` is the true sources' row."""
    clips = [Clip(MIXTURE, MIXTURE, *encode(mixture))]
    for row, signals in rows.items():
        clips += [Clip(row, stem, *encode(signal)) for stem, signal in zip(stems, signals, strict=True)]
    return clips


def encode_audio(signal: NDArray[np.float32], rate: int) -> tuple[str, bytes]:
    """(T, C) as FLAC: the middle seconds, mono, 16 bits."""
    length = min(len(signal), round(SECONDS * rate))
    start = (len(signal) - length) // 2
    file = io.BytesIO()
    mono = signal[start : start + length].mean(axis=1).clip(-1.0, 1.0)
    soundfile.write(file, mono, rate, format="FLAC", subtype="PCM_16")
    return "audio/flac", file.getvalue()


def encode_image(pixels: NDArray[Any]) -> tuple[str, bytes]:
    """(C, H, W) in [0, 1], gray or RGB, as PNG of 8 bits; values beyond are clamped."""
    values = np.round(255 * np.clip(pixels, 0.0, 1.0)).astype(np.uint8)
    image = Image.fromarray(values[0] if len(values) == 1 else np.moveaxis(values, 0, -1))
    image.thumbnail((LARGEST, LARGEST))
    file = io.BytesIO()
    image.save(file, "PNG")
    return "image/png", file.getvalue()
