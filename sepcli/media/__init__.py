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


_AUDIO = """
    .wav .flac .ogg .oga .opus .mp3 .mp2 .m4a .m4b .mp4 .aac .aif .aiff .aifc .w64 .rf64 .bw64 .au .snd .caf
    .wma .wv .ape .tta .ac3 .amr .mka .mkv .webm .mov
"""
_IMAGE = """
    .png .jpg .jpeg .jpe .jfif .bmp .tif .tiff .webp .pgm .ppm .pbm .gif .avif .jp2 .heic .heif
"""

MEDIA: Mapping[MediumName, Medium] = {
    "audio": Medium(
        "audio",
        tuple(_AUDIO.split()),
        ".wav",
        "WAV, FLAC, Ogg, MP3, M4A and other formats of libsndfile and FFmpeg",
    ),
    "image": Medium(
        "image", tuple(_IMAGE.split()), ".png", "PNG, JPEG, TIFF, WebP and other formats of Pillow"
    ),
}
"""Name → row."""
