"""Encoding of an audio file in blocks, by the library that knows its format."""

from __future__ import annotations

from typing import BinaryIO

from sepcli.media.file_format import Encoder, FileFormat
from sepcli.media.libav_encoder import CODECS, LibavEncoder
from sepcli.media.sndfile_encoder import SndfileEncoder


def open_encoder(file: BinaryIO, form: FileFormat) -> Encoder:
    """Return what writes a format to an empty file.

    Raises:
        OSError, RuntimeError, TypeError, ValueError: The format does not hold so many channels, or this rate.
    """
    return LibavEncoder(file, form) if form.container in CODECS else SndfileEncoder(file, form)
