"""Audio files in: header, checks, and samples in blocks, so that any length takes the memory of one block."""

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
from sepcli.media.mp3 import untagged

SLACK = 1024
"""So many bytes may lack of a file as a whole: some programs miscount their headers."""
PLACEHOLDER = 0x7FFF0000
"""Data sizes from here on are what programs that stream write to a WAV header: the size is not known yet."""
UNKNOWN = 1 << 48
"""Frame counts from here on mean that the header does not say."""
COUNT = 1 << 16
"""Frames decoded at once where a file has to be counted."""
DECODE_ERRORS = (RuntimeError, TypeError, ValueError, OSError)
"""What soundfile raises, depending on where it notices that a file is not audio."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file says about its audio."""

    path: Path
    sample_rate: int
    """Hz."""
    channels: int
    frames: int
    """Samples per channel; always the true number."""
    format: str
    """The container as libsndfile names it: WAV, WAVEX, FLAC, OGG, MP3, …"""
    subtype: str
    """The sample format as libsndfile names it: PCM_16, FLOAT, VORBIS, …"""

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.frames / self.sample_rate


class AudioReader:
    """An open audio file, read from start to end in blocks.

    Args:
        path: WAV, FLAC, Ogg, MP3 or anything else that libsndfile decodes.

    Raises:
        InputError: The file is missing, a folder, empty, not audio, cut short, or holds no samples.
    """

    def __init__(self, path: Path) -> None:
        self._position = 0
        self._file, self._bytes = _open(path)
        try:
            frames = _count(path, self._file, counting=self._bytes is not None)
            self.info = AudioInfo(
                path,
                int(self._file.samplerate),
                int(self._file.channels),
                frames,
                str(self._file.format),
                str(self._file.subtype),
            )
            self.rewind()
        except BaseException:
            self.close()
            raise

    def read(self, frames: int) -> NDArray[np.float64]:
        """Decode the next ``frames`` samples.

        Args:
            frames: How many samples per channel are wanted.

        Returns:
            (C, T) float64, full scale is 1; T is less than ``frames`` only at the end of the file, and 0
            after it.

        Raises:
            InputError: The file is cut short or damaged, or holds NaN or infinite samples.
        """
        wanted = min(frames, self.info.frames - self._position)
        try:
            block = self._file.read(wanted, dtype="float64", always_2d=True)
        except DECODE_ERRORS as error:
            _refuse_truncated(self.info.path, error)
        if len(block) < wanted:
            _refuse_truncated(self.info.path)
        bad = ~np.isfinite(block).all(axis=1)
        if bad.any():
            second = (self._position + int(bad.argmax())) / self.info.sample_rate
            raise InputError(
                f"{self.info.path} holds NaN or infinite samples, the first at {second:.3f} s",
                "export it again from the program that made it, or replace these samples by zeros",
            )
        self._position += len(block)
        return np.ascontiguousarray(block.T, dtype=np.float64)

    def rewind(self) -> None:
        """Start again at the first sample, by opening the file again: not every format seeks exactly."""
        self.close()
        self._file, self._bytes = _open(self.info.path)
        self._position = 0

    def close(self) -> None:
        """Close the file; reading is over."""
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
    """Open ``path`` for decoding; return the sound file, and the binary file behind it if there is one."""
    try:
        _refuse_non_files(path)
        file = soundfile.SoundFile(os.fsencode(path))
        if file.format != "MP3" or (source := untagged(path)) is None:
            return file, None
        file.close()
        return soundfile.SoundFile(source), source
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot read {path}: {reason}", "check the name and that you are allowed to read it"
        ) from error
    except DECODE_ERRORS as error:
        raise InputError(
            f"{path} is not an audio file that can be read",
            "give a WAV, FLAC, Ogg or MP3 file; convert others, e.g. with: ffmpeg -i INPUT OUTPUT.wav",
        ) from error


def _refuse_non_files(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder, not an audio file", "give the files in it one by one")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file", "save the audio to a file first")
    with path.open("rb") as probe:
        if not probe.read(1):
            raise InputError(f"{path} is empty", "copy or download it again")


def _refuse_truncated(path: Path, cause: Exception | None = None) -> NoReturn:
    raise InputError(
        f"{path} is truncated or damaged: it ends before the length it announces",
        "copy or download it again; to use what is left, convert it, e.g. with: ffmpeg -i INPUT OUTPUT.wav",
    ) from cause


def _count(path: Path, file: Any, *, counting: bool) -> int:
    """The true number of frames: the header's where it can be trusted, else counted by decoding."""
    if _announces_more_bytes(file.extra_info) or (file.format == "OGG" and not _ends_in_last_page(path)):
        _refuse_truncated(path)
    frames = int(file.frames)
    if counting:
        frames = 0
        while read := len(file.read(COUNT, dtype="float32", always_2d=True)):
            frames += read
    elif frames >= UNKNOWN:
        raise InputError(
            f"{path} does not say how long it is",
            "write it again with a length, e.g. with: ffmpeg -i INPUT OUTPUT.flac",
        )
    if frames <= 0:
        raise InputError(f"{path} holds no audio (0 samples)", "check how it was exported")
    return frames


def _announces_more_bytes(log: str) -> bool:
    """Whether libsndfile noted that a file is shorter than its data, or as a whole (it accepts that)."""
    chunks = re.findall(r"^\s*(?:data|SSND|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", log, re.MULTILINE)
    wholes = re.findall(r"^\s*(?:riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", log, re.MULTILINE)
    return any(
        int(actual) + slack < int(announced) < most
        for found, slack, most in ((chunks, 0, PLACEHOLDER), (wholes, SLACK, 1 << 62))
        for announced, actual in found
    )


def _ends_in_last_page(path: Path) -> bool:
    """Whether the last Ogg page carries the end-of-stream flag (RFC 3533); a page is shorter than 64 KiB."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 512))
        tail = file.read()
    page = tail.rfind(b"OggS")
    return page >= 0 and len(tail) > page + 5 and bool(tail[page + 5] & 4)
