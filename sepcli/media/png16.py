"""PNG files of 16 bits per value with color or transparency, which Pillow cannot write."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

COLOR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
"""Values per pixel → color type of the format."""
UP = 2
"""Filter type: every byte minus the byte above it."""
METERS_PER_INCH = 0.0254
EXIF_HEADER = b"Exif\0\0"
"""Prefix of EXIF data in JPEG, which PNG leaves out."""
STRIP = 64
"""Rows compressed at once."""


def write_png16(
    file: BinaryIO, values: NDArray[np.uint16], *, dpi: tuple[float, float] | None = None, exif: bytes = b""
) -> None:
    """Write an image of 16 bits per value to an empty file.

    Args:
        file: the file.
        values: (H, W, C), gray (C = 1) or color (C = 3), plus one channel for opacity.
        dpi: pixels per inch, horizontal and vertical.
        exif: EXIF data.

    Raises:
        OSError: the file cannot be written.

    Source: PNG specification (third edition), sections 5, 9.2, 11.2 and 11.3.
    """
    height, width, channels = values.shape
    compressor = zlib.compressobj(6)
    above = np.zeros((1, width * channels * 2), np.uint8)
    file.write(b"\x89PNG\r\n\x1a\n")
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPE[channels], 0, 0, 0)
    file.write(_chunk(b"IHDR", header))
    if dpi is not None:
        per_meter = (round(value / METERS_PER_INCH) for value in dpi)
        file.write(_chunk(b"pHYs", struct.pack(">IIB", *per_meter, 1)))
    if exif:
        file.write(_chunk(b"eXIf", exif.removeprefix(EXIF_HEADER)))
    for start in range(0, height, STRIP):
        rows = np.ascontiguousarray(values[start : start + STRIP], dtype=">u2")
        data = rows.view(np.uint8).reshape(len(rows), -1)
        filtered = np.diff(data, axis=0, prepend=above)  # modulo 256, as bytes are
        above = data[-1:]
        compressed = compressor.compress(np.insert(filtered, 0, UP, axis=1).tobytes())
        file.write(_chunk(b"IDAT", compressed))
    file.write(_chunk(b"IDAT", compressor.flush()))
    file.write(_chunk(b"IEND", b""))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
