"""Audio input: header, validation, and samples in blocks, so that files of any length fit into memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from sepcli.errors import InputError
from sepcli.media.libav import LibavDecoder, is_mpeg
from sepcli.media.mp3 import announced_samples
from sepcli.media.ogg import find_links
from sepcli.media.sndfile import SndfileDecoder
from sepcli.media.stream_errors import ChangeError, TruncatedError
from sepcli.media.tags import NO_TAGS, Tags
from sepcli.signal.windows import RATES

COUNT_BLOCK = 1 << 16
"""Samples decoded at once when the samples of a file are counted."""
MOST_SAMPLES = 25_000_000
"""The most samples per second of all channels: 512 channels at 48 kHz, whose windows take a few gigabytes."""
LARGEST = 1e10
"""The largest sample: those of unscaled 32-bit integers are less, and energies of larger ones overflow."""
SLACK = 4096
"""Samples by which a lossy file may end before the length in its header: two blocks of the longest codecs."""
SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"fLaC", b"OggS", b"caff", b".snd", b"dns.")
"""First bytes of files that libsndfile decodes, unless their coding is unknown to it."""
DECODE_ERRORS = (RuntimeError, TypeError, ValueError, OSError, EOFError)
"""Exceptions of decoders for files that are not audio, or are damaged."""


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
    """The container: WAV, WAVEX, FLAC, OGG, MP3, M4A, …"""
    subtype: str
    """The sample format as libsndfile names it (PCM_16, FLOAT, …), or the codec of a lossy file."""
    mask: int = 0
    """Speakers of the channels, 0 if unknown; see ``sepcli.media.speakers``."""
    streams: int = 1
    """Number of audio streams in the file, of which one is read."""
    tags: Tags = NO_TAGS
    """Title, artist and other tags that stems keep."""

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

    Args:
        path: WAV, FLAC, Ogg, MP3, M4A or anything else that libsndfile or FFmpeg decodes.
        stream: index of the audio stream in a file of several.

    Raises:
        InputError: The file is missing, a folder, empty, not audio, cut short, or holds no samples.
    """

    def __init__(self, path: Path, stream: int = 0) -> None:
        self._position = 0
        self._stream = stream
        self._file = _open(path, stream)
        try:
            file = self._file
            frames = _count(path, file)
            self.info = AudioInfo(
                path,
                file.sample_rate,
                file.channels,
                frames,
                file.format,
                file.subtype,
                file.mask,
                file.streams,
                file.tags,
            )
            if not isinstance(file, SndfileDecoder):
                self.rewind()
        except BaseException:
            self.close()
            raise

    def read(self, frames: int) -> NDArray[np.float64]:
        """Decode the next ``frames`` samples.

        Args:
            frames: Number of samples per channel.

        Returns:
            (C, T) float64, full scale is 1; T is less than ``frames`` only at the end of the file.

        Raises:
            InputError: The file is cut short or damaged, or contains NaN, infinite or huge samples.
        """
        count = min(frames, self.info.frames - self._position)
        try:
            block = self._file.read(count)
        except DECODE_ERRORS as error:
            _raise_truncated(self.info.path, error)
        if len(block) < count:
            _raise_truncated(self.info.path)
        if len(block) and not (block.max() <= LARGEST and block.min() >= -LARGEST):  # NaN is neither
            bad = ~((block <= LARGEST) & (block >= -LARGEST)).all(axis=1)
            second = (self._position + int(bad.argmax())) / self.info.sample_rate
            raise InputError(
                f"{self.info.path} contains NaN, infinite or huge samples, the first at {second:.3f} s",
                "export the file again, or replace these samples by zeros",
            )
        self._position += len(block)
        return np.ascontiguousarray(block.T, dtype=np.float64)

    def skip(self, frames: int) -> None:
        """Go forward by ``frames`` samples, which are only decoded where the format demands it.

        Raises:
            InputError: The file is cut short or damaged.
        """
        frames = min(frames, self.info.frames - self._position)
        if isinstance(self._file, SndfileDecoder) and self._file.skip(frames):
            self._position += frames
            return
        while frames > 0:
            frames -= self.read(min(frames, COUNT_BLOCK)).shape[-1]

    def rewind(self) -> None:
        """Return to the first sample by reopening the file, because not every format seeks exactly."""
        self.close()
        self._file = _open(self.info.path, self._stream)
        self._position = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path, stream: int) -> SndfileDecoder | LibavDecoder:
    """Open ``path`` with the decoder that reads it exactly."""
    try:
        _check_regular_file(path)
        with path.open("rb") as file:
            start = file.read(4)
        first = start in SNDFILE_MAGIC
        decoder = _sndfile(path) if first else None
        if decoder is not None and decoder.frames:
            return decoder
        try:
            libav = LibavDecoder(path, stream)
        except DECODE_ERRORS:
            # libsndfile's decoder of MP3 prints what is wrong with a file
            decoder = decoder if first or is_mpeg(start) else _sndfile(path)
            if decoder is None:
                raise
            return decoder
        cut = start == b"OggS" and find_links(path) is None
        if first and decoder is None and (libav.is_pcm or cut):  # PCM is refused only if it is damaged
            libav.close()
            raise TruncatedError
        return libav  # also of a header that counts no samples, which streaming programs leave
    except TruncatedError as error:
        _raise_truncated(path, error)
    except ChangeError as error:
        _raise_changed(path, error)
    except OSError as error:
        if error.errno is None or error.errno > 255:  # of a decoder
            _raise_unreadable(path, error)
        raise InputError(
            f"cannot read {path}: {error.strerror or error}", "check the name and the permissions of the file"
        ) from error
    except DECODE_ERRORS as error:
        _raise_unreadable(path, error)


def _check_layout(path: Path, file: SndfileDecoder | LibavDecoder) -> None:
    """Refuse a rate or a number of channels that no recording has, whose windows take gigabytes or minutes.

    Raises:
        InputError: it has one.
    """
    low, high = RATES
    if not low <= file.sample_rate <= high:
        raise InputError(
            f"{path} has a sample rate of {file.sample_rate:,} Hz",
            f"rates from {low:,} to {high:,} Hz can be separated: correct its header, or resample it",
        )
    if file.sample_rate * file.channels > MOST_SAMPLES:
        raise InputError(
            f"{path} has {file.channels:,} channels of {file.sample_rate:,} Hz",
            "split it into files of fewer channels, or resample it",
        )


def _sndfile(path: Path) -> SndfileDecoder | None:
    """Open a file with libsndfile; return None if it has no length or another coding."""
    try:
        decoder = SndfileDecoder(path)
    except (TruncatedError, ChangeError):
        raise
    except DECODE_ERRORS:
        return None
    if decoder.frames is None:
        decoder.close()
        return None
    return decoder


def _raise_unreadable(path: Path, cause: Exception) -> NoReturn:
    raise InputError(
        f"{path} is not a readable audio file",
        "use a WAV, FLAC, Ogg, MP3 or M4A file; convert others, e.g. with: ffmpeg -i INPUT OUTPUT.wav",
    ) from cause


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


def _raise_changed(path: Path, cause: ChangeError) -> NoReturn:
    raise InputError(
        f"{path} changes its sample rate or channels in the middle",
        "split it into its parts, and separate each of them",
    ) from cause


def _count(path: Path, file: SndfileDecoder | LibavDecoder) -> int:
    """Return the number of samples: that of the header if it is reliable, otherwise counted by decoding."""
    if isinstance(file, SndfileDecoder):
        _check_layout(path, file)
        frames = file.frames or 0
    else:
        frames = 0
        try:
            while read := len(file.read(COUNT_BLOCK)):
                frames += read
        except ChangeError as error:
            _raise_changed(path, error)
        except DECODE_ERRORS as error:
            _raise_truncated(path, error)
        if frames:
            _check_layout(path, file)  # FFmpeg's is that of the samples, not of the header
        announced = announced_samples(path) if file.format == "MP3" else file.announced or 0
        if frames < announced - SLACK:
            _raise_truncated(path)
    if frames <= 0:
        raise InputError(f"{path} contains no audio (0 samples)", "check how it was exported")
    return frames
