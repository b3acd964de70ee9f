"""Audio input: header, validation, and samples in blocks, so that files of any length fit into memory."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from sepcli.errors import InputError
from sepcli.media.mp3 import open_untagged

TOLERANCE = 1024
"""Bytes by which a whole file may be shorter than announced, because some programs miscount their headers."""
PLACEHOLDER = 0x7FFF0000
"""Data sizes of at least this value are placeholders of programs that stream: the size is unknown."""
UNKNOWN = 1 << 48
"""Frame counts of at least this value mean that the header has no count."""
COUNT_BLOCK = 1 << 16
"""Frames decoded at once when the frames of a file are counted."""
DECODE_ERRORS = (RuntimeError, TypeError, ValueError, OSError)
"""Exceptions of soundfile for files that are not audio."""


@dataclass(frozen=True)
class AudioInfo:
    """Properties of an audio file."""

    path: Path
    sample_rate: int
    """Hz."""
    channels: int
    frames: int
    """Samples per channel, verified."""
    format: str
    """The container as libsndfile names it: WAV, WAVEX, FLAC, OGG, MP3, …"""
    subtype: str
    """The sample format as libsndfile names it: PCM_16, FLOAT, VORBIS, …"""

    @property
    def name(self) -> str:
        """The path, for messages."""
        return str(self.path)

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return self.frames / self.sample_rate


class AudioReader:
    """An open audio file, read from start to end in blocks.

    Raises:
        InputError: the file is missing, a folder, empty, not audio, cut short, or holds no samples.
    """

    def __init__(self, path: Path) -> None:
        self._position = 0
        self._file, self._bytes = _open(path)
        try:
            file, frames = self._file, _count(path, self._file, counting=self._bytes is not None)
            self.info = AudioInfo(
                path, int(file.samplerate), int(file.channels), frames, file.format, file.subtype
            )
            self.rewind()
        except BaseException:
            self.close()
            raise

    def read(self, frames: int) -> NDArray[np.float64]:
        """Decode the next ``frames`` samples per channel.

        Returns:
            (C, T) float64, full scale is 1; T is less than ``frames`` only at the end of the file.

        Raises:
            InputError: the file is cut short or damaged, or contains NaN or infinite samples.
        """
        count = min(frames, self.info.frames - self._position)
        try:
            block = self._file.read(count, dtype="float64", always_2d=True)
        except DECODE_ERRORS as error:
            _raise_truncated(self.info.path, error)
        if len(block) < count:
            _raise_truncated(self.info.path)
        bad = ~np.isfinite(block).all(axis=1)
        if bad.any():
            second = (self._position + int(bad.argmax())) / self.info.sample_rate
            raise InputError(
                f"{self.info.path} contains NaN or infinite samples, the first at {second:.3f} s",
                "export the file again, or replace these samples by zeros",
            )
        self._position += len(block)
        return np.ascontiguousarray(block.T, dtype=np.float64)

    def rewind(self) -> None:
        """Return to the first sample by reopening the file, because not every format seeks exactly."""
        self.close()
        self._file, self._bytes = _open(self.info.path)
        self._position = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._bytes is not None:
            self._bytes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path) -> tuple[Any, Any]:
    """Open ``path`` for decoding; return the decoder, and the binary file behind it if there is one."""
    try:
        _check_regular_file(path)
        file = soundfile.SoundFile(os.fsencode(path))
        if file.format != "MP3" or (source := open_untagged(path)) is None:
            return file, None
        file.close()
        return soundfile.SoundFile(source), source
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot read {path}: {reason}", "check the name and the permissions of the file"
        ) from error
    except DECODE_ERRORS as error:
        raise InputError(
            f"{path} is not a readable audio file",
            "use a WAV, FLAC, Ogg or MP3 file; convert others, e.g. with: ffmpeg -i INPUT OUTPUT.wav",
        ) from error


def _check_regular_file(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder, not an audio file", "pass the files in it")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file", "save the audio to a file first")
    with path.open("rb") as probe:
        if not probe.read(1):
            raise InputError(f"{path} is empty", "copy or download it again")


def _raise_truncated(path: Path, cause: Exception | None = None) -> NoReturn:
    raise InputError(
        f"{path} is truncated or damaged: it is shorter than its header says",
        "copy or download it again; to use what is intact, convert it, e.g. with: ffmpeg -i INPUT OUTPUT.wav",
    ) from cause


def _count(path: Path, file: Any, *, counting: bool) -> int:
    """Return the number of frames: that of the header if it is reliable, otherwise counted by decoding."""
    if _announces_more_bytes(file.extra_info) or (file.format == "OGG" and not _ends_in_last_page(path)):
        _raise_truncated(path)
    frames = int(file.frames)
    if counting:
        frames = 0
        while read := len(file.read(COUNT_BLOCK, dtype="float32", always_2d=True)):
            frames += read
    elif frames >= UNKNOWN:
        raise InputError(
            f"the header of {path} has no length",
            "convert it, e.g. with: ffmpeg -i INPUT OUTPUT.flac",
        )
    if frames <= 0:
        raise InputError(f"{path} contains no audio (0 samples)", "check how it was exported")
    return frames


def _announces_more_bytes(log: str) -> bool:
    """Return whether the log of libsndfile reports less data than the header announces; it accepts that."""
    chunks = re.findall(r"^\s*(?:data|SSND|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", log, re.MULTILINE)
    wholes = re.findall(r"^\s*(?:riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", log, re.MULTILINE)
    return any(
        int(actual) + tolerance < int(announced) < limit
        for sizes, tolerance, limit in ((chunks, 0, PLACEHOLDER), (wholes, TOLERANCE, 1 << 62))
        for announced, actual in sizes
    )


def _ends_in_last_page(path: Path) -> bool:
    """Return whether the last Ogg page (less than 64 KiB) has the end-of-stream flag (RFC 3533)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 512))
        tail = file.read()
    page = tail.rfind(b"OggS")
    return page >= 0 and len(tail) > page + 5 and bool(tail[page + 5] & 4)
