"""Tags of audio files that stems keep: texts such as title and artist, and the origin of broadcast WAV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from sepcli.media.covers import Cover
from sepcli.media.riff import append_chunk, wav_chunks

TEXTS = ("title", "artist", "album", "date", "genre", "comment", "copyright", "tracknumber")
"""Texts that are kept, as libsndfile names them."""
LIBAV_NAMES = {"tracknumber": "track"}
"""Names in FFmpeg that differ."""
BEXT = b"bext"
"""Name of the chunk of broadcast WAV (EBU Tech 3285), which holds the time reference."""
TIME_REFERENCE = 338
"""Position in that chunk of the time reference: samples since midnight, 64 bits."""
MAX_BEXT = 1 << 20
"""Bytes up to which such a chunk is kept."""


@dataclass(frozen=True)
class Tags:
    """Tags of a file.

    Attributes:
        texts: values by name, see ``TEXTS``.
        bext: the chunk of broadcast WAV; empty if there is none.
        cover: the cover image; None if there is none.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    bext: bytes = b""
    cover: Cover | None = None


NO_TAGS = Tags()


def from_libav(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of FFmpeg's metadata, whose names it writes in upper or lower case."""
    lower = {name.lower(): value for name, value in metadata.items()}
    texts = {name: lower.get(LIBAV_NAMES.get(name, name), "") for name in TEXTS}
    return {name: value for name, value in texts.items() if value}


def to_libav(texts: Mapping[str, str]) -> dict[str, str]:
    """Return texts under FFmpeg's names."""
    return {LIBAV_NAMES.get(name, name): value for name, value in texts.items()}


def read_bext(path: Path) -> bytes:
    """Return the chunk of broadcast WAV in a WAV file; empty if there is none."""
    with path.open("rb") as file:
        for name, size in wav_chunks(file):
            if name == BEXT and size <= MAX_BEXT:
                data = file.read(size)
                return data if len(data) == size else b""
    return b""


def append_bext(file: BinaryIO, data: bytes) -> None:
    """Append the chunk of broadcast WAV to a WAV file of less than 4 GiB."""
    append_chunk(file, BEXT, data)


def starting_later(tags: Tags, samples: int) -> Tags:
    """Return the tags of a part of a file, which begins so many samples after the file."""
    span = slice(TIME_REFERENCE, TIME_REFERENCE + 8)
    if not samples or len(tags.bext) < span.stop:
        return tags
    time = int.from_bytes(tags.bext[span], "little") + samples
    changed = time.to_bytes(9, "little")[:8]
    return replace(tags, bext=tags.bext[: span.start] + changed + tags.bext[span.stop :])
