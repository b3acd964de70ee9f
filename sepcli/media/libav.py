"""Decoding by FFmpeg's libraries (PyAV): MP3, M4A, WebM and all that libsndfile does not decode exactly."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepcli.media.covers import read_cover
from sepcli.media.speakers import mask_of
from sepcli.media.stream_errors import ChangeError
from sepcli.media.tags import Tags, from_libav, read_bext

FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,matroska,webm,mov,mp4,m4a,mp3,mpc,mpc8,mpeg,mpegts,"
    "ogg,shn,tta,w64,wav,wv,xwma"
)
"""Containers that are opened: files of one piece, no playlists, scripts or descriptions of other files."""
NAMES = {"mov": "M4A", "matroska": "MATROSKA", "asf": "WMA"}
"""Names of containers whose first name in FFmpeg says too little."""
LOSSLESS = frozenset(
    ["alac", "ape", "flac", "mlp", "shorten", "tak", "truehd", "tta", "wavpack", "wmalossless"]
)
"""Codecs, besides PCM, that keep every bit."""
EXACT = frozenset(["M4A", "WAV", "W64", "AIFF", "CAF", "AU", "APE", "TTA", "FLAC", "WV"])
"""Containers whose headers give the length; that of others is estimated."""


class LibavDecoder:
    """An audio stream of a file, decoded from its start.

    Priming and padding that the container announces are left out: those that FFmpeg's program leaves out, and
    the padding at the end of MP4.

    Args:
        path: the file.
        stream: index of the audio stream, from 0.

    Raises:
        OSError, ValueError: It cannot be decoded, or has no such stream.
    """

    def __init__(self, path: Path, stream: int = 0) -> None:
        import av

        self._invalid = av.error.InvalidDataError
        self._raw = _Seekable(path)
        with _value_errors(self.close):
            options = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
            try:
                self._container: Any = av.open(self._raw, container_options=options)
            except self._invalid:  # FFmpeg recognizes MP3 by several frames
                self._raw.seek(0)
                if not is_mpeg(self._raw.read(4)):
                    raise
                self._raw.seek(0)
                self._container = av.open(self._raw, format="mp3", container_options=options)
            streams = self._container.streams.audio
            if stream >= len(streams):
                raise ValueError("the file has no audio stream")
            self._stream: Any = streams[stream]
            self.streams = len(streams)
            self.format = _name(self._container.format.name)
            texts = from_libav({**self._container.metadata, **self._stream.metadata})
            self.tags = Tags(texts, read_bext(path), read_cover(path))
            self._end: int | None = None
            self._frames: Iterator[NDArray[np.float64]] = self._decode()
            self._rest = next(self._frames, np.zeros((0, 1)))

    sample_rate: int
    """Hz; of the first decoded frame, like ``channels``, ``mask`` and ``subtype``."""
    channels: int
    mask: int
    subtype: str

    def read(self, frames: int) -> NDArray[np.float64]:
        """Decode up to ``frames`` samples (T, C); fewer only at the end.

        Raises:
            ValueError: The stream is damaged, or changes its rate or channels.
        """
        parts, count = [self._rest[:0]], 0
        while count < frames:
            if not len(self._rest):
                with _value_errors(self.close):
                    self._rest = next(self._frames, self._rest)
                if not len(self._rest):
                    break
            part, self._rest = self._rest[: frames - count], self._rest[frames - count :]
            parts.append(part)
            count += len(part)
        return np.concatenate(parts)

    @property
    def is_pcm(self) -> bool:
        """Whether samples are stored as they are."""
        return str(self._stream.codec_context.name).startswith("pcm_")

    @property
    def announced(self) -> int | None:
        """Length in samples in the header of the container; None if there is none."""
        stream, length = self._stream, self._length()
        if length is not None or self.format not in EXACT or stream.duration is None:
            return length
        samples: int = round(stream.duration * stream.time_base * stream.rate)
        return samples

    def close(self) -> None:
        """Close the file."""
        if hasattr(self, "_container"):
            self._container.close()
        self._raw.close()

    def _decode(self) -> Iterator[NDArray[np.float64]]:
        """Return samples (T, C) of one frame after the other, without padding."""
        left = self._length()
        last: Any = None
        for frame in self._decode_frames():
            if last is not None and left != 0:
                samples = _samples(last)[:left]
                left = None if left is None else left - len(samples)
                yield samples
            last = frame
        if last is not None:
            yield _samples(last)[: self._last_samples(last) if left is None else left]

    def _decode_frames(self) -> Iterator[Any]:
        layout = None
        for packet in self._container.demux(self._stream):
            if packet.pts is not None and packet.duration:
                self._end = packet.pts + packet.duration
            try:
                frames = packet.decode()
            except self._invalid:
                if bytes(packet).startswith(b"ID3"):  # a tag between joined parts
                    continue
                raise
            for frame in frames:
                if layout is None:
                    layout = (frame.sample_rate, frame.layout.nb_channels)
                    self.sample_rate, self.channels = layout
                    self.mask = mask_of(tuple(channel.name for channel in frame.layout.channels))
                    self.subtype = self._subtype(frame.format)
                elif layout != (frame.sample_rate, frame.layout.nb_channels):
                    raise ChangeError("the stream changes its sample rate or channels")
                if frame.samples:
                    yield frame

    def _last_samples(self, frame: Any) -> int | None:
        """Return how many samples of the last frame are no padding, by the duration of its packet in MP4."""
        if self.format != "M4A" or self._end is None or frame.pts is None:
            return None
        samples: int = round((self._end - frame.pts) * self._stream.time_base * frame.sample_rate)
        return max(0, samples)

    def _length(self) -> int | None:
        """Return the length in samples that iTunes notes in MP4 containers."""
        if self.format != "M4A":
            return None
        note = self._container.metadata.get("iTunSMPB", "").split()
        if len(note) < 4 or not re.fullmatch("[0-9A-Fa-f]{16}", note[3]):
            return None
        return int(note[3], 16) or None

    def _subtype(self, sample: Any) -> str:
        """Return the sample format as libsndfile names it if the codec is lossless, else the codec's name."""
        codec = self._stream.codec_context
        if not codec.name.startswith("pcm_") and codec.name not in LOSSLESS:
            return str(codec.name).removesuffix("float").upper()
        if sample.name.startswith(("flt", "dbl")):
            return "FLOAT" if sample.bytes == 4 else "DOUBLE"
        return {8: "PCM_U8", 16: "PCM_16", 24: "PCM_24"}.get(_bits(codec), f"PCM_{8 * sample.bytes}")


@contextmanager
def _value_errors(close: Callable[[], None]) -> Iterator[None]:
    """Turn FFmpeg's errors that are neither OSErrors nor ValueErrors into ValueErrors; close at any error."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        close()
        if isinstance(error, OSError | ValueError):
            raise
        raise ValueError(str(error)) from error
    except BaseException:
        close()
        raise


class _Seekable(io.FileIO):
    """A file that answers a seek to nowhere as FFmpeg expects; PyAV prints exceptions."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to ``offset``; return the position, -1 if there is no such position."""
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError):
            return -1


def is_mpeg(start: bytes) -> bool:
    """Return whether a file starts as MP3 does."""
    return start.startswith(b"ID3") or (start[:1] == b"\xff" and start[1:2] >= b"\xe0")


def _bits(codec: Any) -> int:
    """Return the bits per sample that a lossless codec keeps; 0 if it does not say so."""
    header = codec.extradata or b""
    if codec.name == "flac" and len(header) >= 14:  # STREAMINFO, RFC 9639, section 8.2
        bits = ((header[12] & 1) << 4 | header[13] >> 4) + 1
    elif codec.name == "alac" and len(header) >= 18:
        bits = int(header[17])
    else:
        bits = int("".join(filter(str.isdigit, codec.name)) or 0) if codec.name.startswith("pcm_") else 0
    return 8 * -(-bits // 8)


def _name(formats: str) -> str:
    first = formats.split(",")[0]
    return NAMES.get(first, first.upper())


def _samples(frame: Any) -> NDArray[np.float64]:
    """Return samples (T, C) of a frame, full scale is 1."""
    values: NDArray[Any] = frame.to_ndarray()
    channels = frame.layout.nb_channels
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if values.dtype.kind == "u":
        return np.asarray((values - 128.0) / 128)
    if values.dtype.kind == "i":
        return np.asarray(values / 2.0 ** (8 * values.dtype.itemsize - 1))
    with np.errstate(invalid="ignore"):  # of values that are not numbers, which the reader refuses
        return values.astype(np.float64)
