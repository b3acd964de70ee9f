"""What an audio file that is written holds, and the interface of what writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from sepcli.media.tags import NO_TAGS, Tags


@dataclass(frozen=True)
class FileFormat:
    """What a file holds, and how.

    Attributes:
        container: WAV, WAVEX, RF64, FLAC or OGG, in the names of libsndfile, MP3, OPUS, M4A or ``STEM_MP4``.
        rate: Hz; Opus is resampled to 48,000.
        channels: C.
        subtype: sample format as libsndfile names it; empty for FFmpeg's.
        bitrate: bits per second of lossy containers.
        mask: speakers, see ``sepcli.media.speakers``.
        tags: see ``sepcli.media.tags``; the chunk of broadcast WAV is kept in WAV of less than 4 GiB.
    """

    container: str
    rate: int
    channels: int
    subtype: str = ""
    bitrate: int | None = None
    mask: int = 0
    tags: Tags = NO_TAGS


class Encoder(Protocol):
    """Writes a file block by block; its owner opens it for reading and writing, and closes it.

    Of several tracks, samples are (N, T, C).
    """

    @property
    def samples(self) -> int:
        """Length of the closed file in samples."""

    def write(self, samples: NDArray[Any]) -> None:
        """Append samples (T, C): float64 or float32 at full scale 1, or int32."""

    def close(self) -> None:
        """Write what is left, once; the file stays open."""
