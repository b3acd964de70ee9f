"""Decoding by libsndfile: WAV, FLAC, AIFF, Ogg and all that it reads exactly."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sepcli.media.covers import read_cover
from sepcli.media.ogg import Link, find_links
from sepcli.media.speakers import DEFAULT_MASKS, flac_mask, from_vorbis_order, wav_mask
from sepcli.media.stream_errors import ChangeError, TruncatedError
from sepcli.media.tags import TEXTS, Tags, read_bext

TOLERANCE = 1024
"""Bytes by which a whole file may be shorter than announced, because some programs miscount their headers."""
PLACEHOLDER = 0x7FFF0000
"""Data sizes of at least this value are placeholders of programs that stream: the size is unknown."""
UNCOMPRESSED = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
"""Codings whose samples have a constant size."""
W64_HEADER = 24
"""Bytes of a chunk of W64 that its size counts besides its data."""
INEXACT = (("WAV", "MPEG_LAYER_III"), ("AIFF", "IMA_ADPCM"))
"""Container and coding that libsndfile decodes less exactly than FFmpeg: to another length, or with coarse
starts of packets.

It is the other way round for MS ADPCM, whose predictions FFmpeg rounds otherwise than encoders do; for G.721
and G.723, whose bits it takes in another order; and for ALAC in CAF, of which it drops the end.
"""
BLOCK = 1 << 24
"""Values decoded at once: headers may announce any length, and memory is allocated before it is filled."""
UNKNOWN = 1 << 48
"""Frame counts of at least this value mean that the header has no count."""


class SndfileDecoder:
    """A file decoded from its start; chained Ogg files are decoded link by link.

    Args:
        path: the file.

    Raises:
        TruncatedError: It is shorter than its header says.
        ChangeError: The links of a chained file differ in sample rate or channels.
        OSError, RuntimeError, TypeError, ValueError: libsndfile does not read it, or not exactly.
    """

    streams = 1

    def __init__(self, path: Path) -> None:
        self._source: Link | None = None
        self._links: Iterator[tuple[int, int]] = iter(())
        self._path = path
        self._file: Any = soundfile.SoundFile(os.fsencode(path))
        try:
            self.sample_rate, self.channels = int(self._file.samplerate), int(self._file.channels)
            self.format, self.subtype = str(self._file.format), str(self._file.subtype)
            if (self.format, self.subtype) in INEXACT:
                raise ValueError("libsndfile does not decode this coding exactly")
            self.frames = self._check(path)
            self.mask = _mask(path, self.format, self.channels)
            texts = {name: str(text) for name, text in self._file.copy_metadata().items() if name in TEXTS}
            self.tags = Tags(texts, read_bext(path), read_cover(path))
        except BaseException:
            self.close()
            raise

    frames: int | None
    """Length in samples; None if the header does not say it."""
    mask: int
    """Speakers; 0 if unknown. See ``sepcli.media.speakers``."""
    tags: Tags
    """Tags that stems keep."""

    def read(self, frames: int) -> NDArray[np.float64]:
        """Decode up to ``frames`` samples (T, C); fewer only at the end."""
        parts, count, most = [], 0, max(1, BLOCK // self.channels)
        while True:
            part = self._file.read(min(frames - count, most), dtype="float64", always_2d=True)
            parts.append(part)
            count += len(part)
            if count >= frames:
                break
            if not len(part):
                if (link := next(self._links, None)) is None:
                    break
                self._open_link(link)
        samples: NDArray[np.float64] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return from_vorbis_order(samples) if self.format == "OGG" else samples

    def skip(self, frames: int) -> bool:
        """Go forward by so many samples, if that is exact; return whether it is."""
        exact = self.subtype.startswith("PCM_") or self.subtype in ("FLOAT", "DOUBLE")
        if exact:
            self._file.seek(frames, os.SEEK_CUR)
        return exact

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._source is not None:
            self._source.close()

    def _open_link(self, link: tuple[int, int]) -> None:
        self.close()
        self._source = Link(self._path, *link)
        self._file = soundfile.SoundFile(self._source)

    def _check(self, path: Path) -> int | None:
        """Return the length, verified; a chained file is then open at its first link."""
        if _announces_more_bytes(self._file.extra_info) or self._lacks_frames():
            raise TruncatedError
        if self.format != "OGG":
            return int(self._file.frames) if self._file.frames < UNKNOWN else None
        links = find_links(path)
        if links is None:
            raise TruncatedError
        if len(links) == 1:
            return int(self._file.frames)
        frames = 0
        for link in links:
            self._open_link(link)
            if (self._file.samplerate, self._file.channels) != (self.sample_rate, self.channels):
                raise ChangeError
            frames += int(self._file.frames)
        self._open_link(links[0])
        self._links = iter(links[1:])
        return frames

    def _lacks_frames(self) -> bool:
        """Return whether a file of RF64 or W64 holds fewer samples than its header announces."""
        log, frames = self._file.extra_info, int(self._file.frames)
        if announced := re.search(r"does not match value from 'ds64' chunk of (\d+)", log):
            return frames < int(announced[1]) < UNKNOWN
        size, block = re.search(r"^data : (\d+)", log, re.MULTILINE), re.search(r"Block Align\s*: (\d+)", log)
        if self.format != "W64" or size is None or block is None or self.subtype not in UNCOMPRESSED:
            return False
        return (frames + 1) * int(block[1]) <= int(size[1]) - W64_HEADER < 1 << 62


def _mask(path: Path, form: str, channels: int) -> int:
    """Return the mask of a file: in its header, or as its format defines it for the number of channels."""
    if form in ("WAV", "WAVEX", "RF64"):
        return wav_mask(path)
    if form == "FLAC" and channels > 2 and (mask := flac_mask(path)):
        return mask
    return DEFAULT_MASKS.get(channels, 0) if form in ("FLAC", "OGG") else 0


def _announces_more_bytes(log: str) -> bool:
    """Return whether the log of libsndfile reports less data than the header announces; it accepts that."""
    chunks = re.findall(r"^\s*(?:data|SSND|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", log, re.MULTILINE)
    wholes = re.findall(r"^\s*(?:riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", log, re.MULTILINE)
    return any(
        int(actual) + tolerance < int(announced) < limit
        for sizes, tolerance, limit in ((chunks, 0, PLACEHOLDER), (wholes, TOLERANCE, 1 << 62))
        for announced, actual in sizes
    )
