"""Encoding by FFmpeg's libraries (PyAV): MP3, Opus and AAC."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
import soxr
from numpy.typing import NDArray

from sepcli.media.covers import add_cover
from sepcli.media.file_format import FileFormat
from sepcli.media.ogg import clear_serials
from sepcli.media.speakers import DEFAULT_MASKS, names_of
from sepcli.media.tags import to_libav

LOUDEST = 8.0
"""Samples are clipped to it: encoders end the process at, or do not end with, those that are far beyond 1."""
OPUS_RATE = 48000
"""Hz; libopus encodes at no other rate that music has."""
CODECS = {"MP3": "libmp3lame", "OPUS": "libopus", "M4A": "aac"}
"""Encoders of FFmpeg by format."""
MUXERS = {"MP3": "mp3", "OPUS": "ogg", "M4A": "ipod"}
"""Containers of FFmpeg by format."""


class Track:
    """A stream of a container that is written, encoded in frames of the codec's length.

    Args:
        container: of PyAV.
        codec: its name in FFmpeg.
        rate: Hz.
        layout: FFmpeg's name of the speakers.
        bitrate: bits per second.
        options: of the codec.
        title: of the stream; empty: none.

    Raises:
        OSError, ValueError: the codec has no such layout or rate.
    """

    def __init__(
        self,
        container: Any,
        codec: str,
        rate: int,
        layout: str,
        bitrate: int | None,
        *,
        options: Mapping[str, str] | None = None,
        title: str = "",
    ) -> None:
        stream: Any = container.add_stream(codec, rate=rate, options=dict(options or {}))
        stream.layout, stream.bit_rate = layout, bitrate
        formats = [sample.name for sample in stream.codec_context.codec.audio_formats]
        self._sample = "fltp" if "fltp" in formats else "flt"
        stream.format = self._sample
        if title:
            stream.metadata.update({"title": title, "handler_name": title})
        stream.codec_context.open()
        self._container, self._stream, self._rate, self._layout = container, stream, rate, layout
        self._rest: NDArray[np.float32] | None = None
        self.samples = 0

    def append(self, samples: NDArray[Any]) -> None:
        """Encode all whole frames of the samples (T, C) so far: floating point at full scale 1."""
        values = np.clip(np.asarray(samples, np.float32), -LOUDEST, LOUDEST)
        if self._rest is not None:
            values = np.concatenate([self._rest, values])
        size = self._stream.codec_context.frame_size
        for start in range(0, len(values) - size + 1, size):
            self._encode(values[start : start + size])
        self._rest = values[len(values) // size * size :].copy()

    def finish(self) -> None:
        """Encode what is left."""
        if self._rest is not None and len(self._rest):
            self._encode(self._rest)
        self._mux(None)

    def _encode(self, values: NDArray[np.float32]) -> None:
        import av

        plane = np.ascontiguousarray(values.T if self._sample == "fltp" else values.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(plane, self._sample, self._layout)
        frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
        frame.pts = self.samples
        self.samples += len(values)
        self._mux(frame)

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)


class LibavEncoder:
    """A file written by FFmpeg's libraries; see ``open_encoder``."""

    def __init__(self, file: BinaryIO, form: FileFormat) -> None:
        import av

        opus, rate, self._channels = form.container == "OPUS", form.rate, form.channels
        self._resampler = None
        if opus and rate != OPUS_RATE:
            self._resampler = soxr.ResampleStream(rate, OPUS_RATE, form.channels, "float64", "VHQ")
        self._file, self._format = file, form
        exact = {"movie_timescale": str(rate)} if form.container == "M4A" else {}  # else rounded to ms
        self._container: Any = av.open(file, "w", format=MUXERS[form.container], options=exact)
        self._container.metadata.update(to_libav(form.tags.texts))
        try:
            self._track = Track(
                self._container,
                CODECS[form.container],
                OPUS_RATE if opus else rate,
                _layout(form.mask, form.channels),
                form.bitrate,
                options={"mapping_family": "1"} if opus and form.channels > 2 else {},
            )
        except BaseException:
            self._container.close()
            raise

    @property
    def samples(self) -> int:
        """Length of the closed file in samples."""
        return self._track.samples

    def write(self, samples: NDArray[Any]) -> None:
        """Append samples (T, C): float64 or float32 at full scale 1."""
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(np.asarray(samples, np.float64))
        self._track.append(samples)

    def close(self) -> None:
        """Write what is left, once; the file stays open."""
        if self._container is None:
            return
        if self._resampler is not None:
            last = np.zeros((0, self._channels))
            self._track.append(self._resampler.resample_chunk(last, last=True))
        self._track.finish()
        self._container.close()
        self._container = None
        if (cover := self._format.tags.cover) is not None:
            add_cover(self._file, self._format.container, cover)
        if self._format.container == "OPUS":
            clear_serials(self._file)


def _layout(mask: int, channels: int) -> str:
    """Return FFmpeg's name of a layout; that of an unknown one is the default of its number of channels."""
    if channels == 1:
        return "mono"
    names = names_of(mask if mask > 0 else DEFAULT_MASKS.get(channels, 0))
    if len(names) != channels:
        raise ValueError(f"there is no standard layout of {channels} channels")
    return "+".join(names)
