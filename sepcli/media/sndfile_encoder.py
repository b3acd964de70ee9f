"""Encoding by libsndfile: WAV, FLAC and Ogg Vorbis."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from sepcli.media.covers import add_cover
from sepcli.media.file_format import FileFormat
from sepcli.media.ogg import clear_serials
from sepcli.media.riff import wav_chunks
from sepcli.media.speakers import set_flac_mask, set_wav_mask, to_vorbis_order
from sepcli.media.tags import append_bext

VORBIS_BLOCK = 4096
"""Samples given at once to libsndfile's Vorbis encoder, which is not safe with blocks of any length."""
VORBIS_CHANNELS, VORBIS_RATE = 255, 200_000
"""Most channels of Vorbis, and the highest rate of libvorbis in Hz; libsndfile ends the process on more."""
VORBIS_BITRATES = [1000 * kilo for kilo in (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)]
"""Nominal bits per second of libvorbis' qualities 0, 1, … 10."""


class SndfileEncoder:
    """A file written by libsndfile; see ``open_encoder``."""

    def __init__(self, file: BinaryIO, form: FileFormat) -> None:
        if form.container == "OGG" and (form.channels > VORBIS_CHANNELS or form.rate > VORBIS_RATE):
            raise ValueError(f"Vorbis has at most {VORBIS_CHANNELS} channels and {VORBIS_RATE} Hz")
        self._sink, self._format = _Sink(file), form
        level = {} if form.bitrate is None else {"compression_level": 1 - _vorbis_quality(form)}
        self._encoder = soundfile.SoundFile(
            self._sink, "w", form.rate, form.channels, form.subtype, format=form.container, **level
        )
        for name, text in form.tags.texts.items():
            setattr(self._encoder, name, text)
        self.samples = 0

    def write(self, samples: NDArray[Any]) -> None:
        """Append samples (T, C): float64 or float32 at full scale 1, or int32."""
        vorbis = self._format.container == "OGG"
        if vorbis:
            samples = to_vorbis_order(samples)
        size = VORBIS_BLOCK if vorbis else max(1, len(samples))
        for start in range(0, len(samples), size):
            with self._sink.errors():
                self._encoder.write(np.ascontiguousarray(samples[start : start + size]))
        self.samples += len(samples)

    def close(self) -> None:
        """Write what is left, once; the file stays open."""
        if self._encoder.closed:
            return
        with self._sink.errors():
            self._encoder.close()
        form, file = self._format, self._sink.file
        if form.tags.cover is not None:
            add_cover(file, form.container, form.tags.cover)
        if form.container == "OGG":
            clear_serials(file)
        elif form.container in ("WAVEX", "RF64"):
            set_wav_mask(file, form.mask)
        elif form.container == "FLAC" and form.mask > 0:
            set_flac_mask(file, form.mask)
        if form.tags.bext and form.container in ("WAV", "WAVEX"):
            append_bext(file, form.tags.bext)
        _clear_timestamp(file)


class _Sink:
    """A file as libsndfile writes it: an error of the file shows as a short write, and is kept."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Append bytes; return their number, 0 on an error."""
        return self._attempt(lambda: self.file.write(data), 0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; return the position, -1 on an error."""
        return self._attempt(lambda: self.file.seek(offset, whence), -1)

    def tell(self) -> int:
        """Return the position, -1 on an error."""
        return self._attempt(self.file.tell, -1)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise the error of the file, if there is one, instead of libsndfile's, which has no reason."""
        try:
            yield
        except (RuntimeError, AssertionError):
            if self._error is None:
                raise
        if self._error is not None:
            raise self._error

    def _attempt(self, call: Callable[[], int], failed: int) -> int:
        try:
            return call()
        except OSError as error:
            self._error = self._error or error
            return failed


def _vorbis_quality(form: FileFormat) -> float:
    """Return the quality of libvorbis, 0 to 1, whose nominal bit rate (at 44,100 Hz, stereo) is nearest."""
    bitrate = 2 * (form.bitrate or 0) / max(form.channels, 2)
    quality = float(np.interp(bitrate, VORBIS_BITRATES, np.linspace(0, 1, 11)))
    return min(max(quality, 0.0), 1.0)


def _clear_timestamp(file: BinaryIO) -> None:
    """Set the timestamp in the PEAK chunk of a float WAV file to 0, so that equal runs give equal files."""
    file.seek(0)
    for name, _ in wav_chunks(file):
        if name == b"PEAK":
            file.seek(4, os.SEEK_CUR)  # after its version
            file.write(bytes(4))
        if name in (b"PEAK", b"data"):
            break
