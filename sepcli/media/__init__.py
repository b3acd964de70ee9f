"""Reading and writing of audio and image files. ``MEDIA`` is the table of media; it imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MediumName = Literal["audio", "image"]


@dataclass(frozen=True)
class Medium:
    """A row of ``MEDIA``.

    Attributes:
        name: of the medium.
        suffixes: lower-case suffixes of the files that are read from folders; other files are given by name.
        suffix_out: of the files that are written by default.
        summary: the formats, for messages.
    """

    name: MediumName
    suffixes: tuple[str, ...]
    suffix_out: str
    summary: str


_AUDIO = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".w64", ".rf64", ".au", ".caf")
_IMAGE = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm", ".gif")

MEDIA: Mapping[MediumName, Medium] = {
    "audio": Medium("audio", _AUDIO, ".wav", "WAV, FLAC, Ogg, MP3 and other formats of libsndfile"),
    "image": Medium("image", _IMAGE, ".png", "PNG, JPEG, TIFF, WebP and other formats of Pillow"),
}
"""Name → row."""
