"""Opening of image files by Pillow, whose libraries print nothing, and refusal of files that were cut short.

Pillow raises an exception where the values of an image end early, but for PCX, whose palette is at the end of
the file, and for JPEG 2000, whose missing tiles are black.

Source: ZSoft 1991 (PCX); ISO/IEC 15444-1, annexes A and I (codestream and boxes of JPEG 2000).
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import struct
from pathlib import Path
from typing import Any

from PIL import Image, _imaging

from sepcli.errors import InputError
from sepcli.media.stream_errors import TruncatedError

FORMATS = (
    "PNG",
    "JPEG",
    "MPO",
    "GIF",
    "TIFF",
    "WEBP",
    "BMP",
    "DIB",
    "PPM",
    "AVIF",
    "JPEG2000",
    "HEIF",
    "ICO",
    "PCX",
    "TGA",
    "PSD",
    "SGI",
)
"""Formats of Pillow that are opened: those that it decodes by itself, without another program."""
PCX_PALETTE = 769
"""Bytes of the palette at the end of a PCX file: 12, and 256 colors."""
CODESTREAM, TILE_PART, END = b"\xff\x4f", b"\xff\x90", b"\xff\xd9"
"""Markers of JPEG 2000: SOC, SOT and EOC."""
TILE_HEADER = 14
"""Bytes of a tile-part at least: its marker segment and the marker of its data."""


def silence() -> None:
    """Keep Pillow and libtiff from printing errors, which are raised, too."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with contextlib.suppress(OSError, AttributeError):  # a Pillow that hides its libtiff, or has none
        handler: Any = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        handler(None)


silence()


def open_image(path: Path) -> Image.Image:
    """Open an image file of one of ``FORMATS``; only its header is read.

    Raises:
        InputError: a plug-in is missing.
        OSError: the file cannot be read, or is no image.
    """
    if path.suffix.lower() in (".heic", ".heif"):
        _register_heif(path)
    with path.open("rb") as file:
        file.read(1)  # OSErrors of the file itself, before formats are tried
    Image.init()
    return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])


def refuse_cut(path: Path, image: Image.Image) -> None:
    """Refuse a file that was cut short, where loading the opened image does not.

    Raises:
        TruncatedError: the file ends early.
    """
    if image.format == "PCX":
        _check_pcx(path.read_bytes(), image)
    elif image.format == "JPEG2000":
        _check_codestream(_codestream(path.read_bytes()))


def _register_heif(path: Path) -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise InputError(
            f"{path} needs a plug-in", "pip install pillow-heif, or convert it to JPEG"
        ) from error
    pillow_heif.register_heif_opener()


def _check_pcx(data: bytes, image: Any) -> None:
    """Check that the palette of an image of 8 bits is there, and follows its values."""
    version, bits, planes = data[1], data[3], data[65]
    if (version, bits, planes) != (5, 8, 1):
        return
    if data[-PCX_PALETTE] != 12:
        raise TruncatedError("its palette is missing")
    codec, _, offset, arguments = image.tile[0]
    try:
        Image.frombytes(image.mode, image.size, data[offset:-PCX_PALETTE], codec, *arguments)
    except ValueError as error:
        raise TruncatedError("its palette or its last rows are missing") from error


def _codestream(data: bytes) -> bytes:
    """Return the codestream of a file of JPEG 2000, which is alone or in a box."""
    if data.startswith(CODESTREAM):
        return data
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        header = 8
        if size == 1 and position + 16 <= len(data):
            (size,), header = struct.unpack_from(">Q", data, position + 8), 16
        stop = len(data) if size == 0 else position + size
        if stop > len(data) or stop < position + header:
            break
        if kind == b"jp2c":
            return data[position + header : stop]
        position = stop
    raise TruncatedError("its codestream is incomplete")


def _check_codestream(stream: bytes) -> None:
    """Check that a codestream has all bytes of its tile-parts, and an end."""
    reader = io.BytesIO(stream)
    reader.seek(2)
    while (marker := reader.read(2)) != END:
        start = reader.tell() - 2
        size = int.from_bytes(reader.read(2), "big") + 2
        if marker == TILE_PART:
            stated = int.from_bytes(reader.read(6)[2:], "big")
            size = stated or len(stream) - len(END) - start
        least = TILE_HEADER if marker == TILE_PART else 4
        if not marker.startswith(b"\xff") or size < least or start + size > len(stream):
            raise TruncatedError("its codestream is incomplete")
        reader.seek(start + size)
