"""Encoding of an audio file in blocks: WAV, FLAC and Ogg by libsndfile, MP3, Opus and AAC by FFmpeg."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from sepcli.media.ogg import clear_serials
from sepcli.media.riff import wav_chunks
from sepcli.media.speakers import DEFAULT_MASKS, names_of, set_flac_mask, set_wav_mask, to_vorbis_order
from sepcli.media.tags import NO_TAGS, Tags, append_bext, to_libav

VORBIS_BLOCK = 4096
"""Samples given at once to libsndfile's Vorbis encoder, which is not safe with blocks of any length."""
OPUS_RATE = 48000
"""Hz; libopus encodes at no other rate that music has."""
CODECS = {"MP3": "libmp3lame", "OPUS": "libopus", "M4A": "aac"}
"""Encoders of FFmpeg by format."""
MUXERS = {"MP3": "mp3", "OPUS": "ogg", "M4A": "ipod"}
"""Containers of FFmpeg by format."""
VORBIS_BITRATES = [1000 * kilo for kilo in (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)]
"""Nominal bits per second of libvorbis' qualities 0, 1, … 10."""


class Encoder(Protocol):
    """A file that is written block by block."""

    @property
    def samples(self) -> int:
        """Length of the closed file in samples."""

    def write(self, samples: NDArray[Any]) -> None:
        """Append samples (T, C): float64 or float32 at full scale 1, or int32."""

    def close(self) -> None:
        """Write what is left, and close the file."""


class SndfileEncoder:
    """A file written by libsndfile.

    Args:
        path: the file, which may exist.
        rate: Hz.
        channels: C.
        form: WAV, WAVEX, RF64, FLAC or OGG.
        subtype: sample format as libsndfile names it.
        mask: speakers, see ``sepcli.media.speakers``.
        tags: see ``sepcli.media.tags``; the chunk of broadcast WAV is kept in WAV of less than 4 GiB.
        bitrate: bits per second of Vorbis.

    Raises:
        OSError, RuntimeError, TypeError, ValueError: The format does not hold so many channels, or this rate.
    """

    def __init__(
        self,
        path: Path,
        rate: int,
        channels: int,
        form: str,
        subtype: str,
        *,
        mask: int = 0,
        tags: Tags = NO_TAGS,
        bitrate: int | None = None,
    ) -> None:
        level = {} if bitrate is None else {"compression_level": 1 - _vorbis_quality(bitrate, channels)}
        self._file = soundfile.SoundFile(
            os.fsencode(path), "w", rate, channels, subtype, format=form, **level
        )
        for name, text in tags.texts.items():
            setattr(self._file, name, text)
        self._path, self._format, self._mask = path, form, mask
        self._bext = tags.bext if form in ("WAV", "WAVEX") else b""
        self.samples = 0

    def write(self, samples: NDArray[Any]) -> None:
        """Append samples (T, C): float64 or float32 at full scale 1, or int32."""
        if self._format == "OGG":
            samples = to_vorbis_order(samples)
        size = VORBIS_BLOCK if self._format == "OGG" else max(1, len(samples))
        for start in range(0, len(samples), size):
            self._file.write(np.ascontiguousarray(samples[start : start + size]))
        self.samples += len(samples)

    def close(self) -> None:
        """Write what is left, and close the file."""
        if self._file.closed:
            return
        self._file.close()
        if self._format == "OGG":
            clear_serials(self._path)
        elif self._format in ("WAVEX", "RF64"):
            set_wav_mask(self._path, self._mask)
        elif self._format == "FLAC" and self._mask > 0:
            set_flac_mask(self._path, self._mask)
        if self._bext:
            append_bext(self._path, self._bext)
        _clear_timestamp(self._path)


class LibavEncoder:
    """A file written by FFmpeg's libraries.

    Args:
        path: the file, which may exist.
        rate: Hz; Opus is resampled to 48,000.
        channels: C.
        form: MP3, OPUS or M4A.
        mask: speakers, see ``sepcli.media.speakers``.
        bitrate: bits per second.
        tags: see ``sepcli.media.tags``.

    Raises:
        OSError, ValueError: The format does not hold so many channels, or this rate.
    """

    def __init__(
        self,
        path: Path,
        rate: int,
        channels: int,
        form: str,
        *,
        bitrate: int,
        mask: int = 0,
        tags: Tags = NO_TAGS,
    ) -> None:
        import av

        self._resampler = None
        if form == "OPUS" and rate != OPUS_RATE:
            self._resampler = soxr.ResampleStream(rate, OPUS_RATE, channels, "float64", "VHQ")
        self._rate = OPUS_RATE if form == "OPUS" else rate
        self._av = av
        self._path, self._form = path, form
        exact = {"movie_timescale": str(rate)} if form == "M4A" else {}  # else the length is rounded to ms
        self._container: Any = av.open(os.fspath(path), "w", format=MUXERS[form], options=exact)
        self._container.metadata.update(to_libav(tags.texts))
        try:
            self._layout = _layout(mask, channels)
            options = {"mapping_family": "1"} if form == "OPUS" and channels > 2 else {}
            stream: Any = self._container.add_stream(CODECS[form], rate=self._rate, options=options)
            self._stream = stream
            self._stream.layout = self._layout
            self._stream.bit_rate = bitrate
            formats = [sample.name for sample in self._stream.codec_context.codec.audio_formats]
            self._sample = "fltp" if "fltp" in formats else "flt"
            self._stream.format = self._sample
            self._stream.codec_context.open()
        except BaseException:
            self._container.close()
            raise
        self._rest = np.zeros((0, channels), np.float32)
        self.samples = 0

    def write(self, samples: NDArray[Any]) -> None:
        """Append samples (T, C): float64 or float32 at full scale 1."""
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(np.asarray(samples, np.float64))
        self._append(samples)

    def close(self) -> None:
        """Write what is left, and close the file."""
        if self._container is None:
            return
        if self._resampler is not None:
            self._append(self._resampler.resample_chunk(np.zeros((0, self._rest.shape[1])), last=True))
        if len(self._rest):
            self._encode(self._rest)
        self._mux(None)
        self._container.close()
        self._container = None
        if self._form == "OPUS":
            clear_serials(self._path)

    def _append(self, samples: NDArray[Any]) -> None:
        """Encode all whole frames of the samples (T, C) so far."""
        values = np.concatenate([self._rest, np.asarray(samples, np.float32)])
        size = self._stream.codec_context.frame_size
        for start in range(0, len(values) - size + 1, size):
            self._encode(values[start : start + size])
        self._rest = values[len(values) // size * size :]

    def _encode(self, values: NDArray[np.float32]) -> None:
        layout = values.T if self._sample == "fltp" else values.reshape(1, -1)
        frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(layout), self._sample, self._layout)
        frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
        frame.pts = self.samples
        self.samples += len(values)
        self._mux(frame)

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)


def _vorbis_quality(bitrate: int, channels: int) -> float:
    """Return the quality of libvorbis, 0 to 1, whose nominal bit rate (at 44,100 Hz, stereo) is nearest."""
    quality = float(np.interp(2 * bitrate / max(channels, 2), VORBIS_BITRATES, np.linspace(0, 1, 11)))
    return min(max(quality, 0.0), 1.0)


def _layout(mask: int, channels: int) -> str:
    """Return FFmpeg's name of a layout; that of an unknown one is the default of its number of channels."""
    if channels == 1:
        return "mono"
    names = names_of(mask if mask > 0 else DEFAULT_MASKS.get(channels, 0))
    if len(names) != channels:
        raise ValueError(f"there is no standard layout of {channels} channels")
    return "+".join(names)


def _clear_timestamp(path: Path) -> None:
    """Set the timestamp in the PEAK chunk of a float WAV file to 0, so that equal runs give equal files."""
    with path.open("r+b") as file:
        for name, _ in wav_chunks(file):
            if name == b"PEAK":
                file.seek(4, os.SEEK_CUR)  # after its version
                file.write(bytes(4))
            if name in (b"PEAK", b"data"):
                break
