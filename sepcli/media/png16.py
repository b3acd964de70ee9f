"""PNG files of 16 bits per value, in color or with transparency, which Pillow does not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KIND = {1: 0, 2: 4, 3: 2, 4: 6}
"""Values per pixel → the format's color type."""
UP = 2
"""The filter: every byte less the one above it."""
STRIP = 64
"""Rows that are compressed at once."""


def write_deep_png(path: Path, values: NDArray[np.uint16]) -> None:
    """Write (H, W, C): gray or color, C = 1 or 3, and one more if the last is opacity.

    Source: PNG specification (third edition), sections 5, 9.2 and 11.2.

    Raises:
        OSError: The place cannot be written.
    """
    height, width, channels = values.shape
    packer = zlib.compressobj(6)
    above = np.zeros((1, width * channels * 2), np.uint8)
    with path.open("wb") as stream:
        stream.write(b"\x89PNG\r\n\x1a\n")
        stream.write(_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, KIND[channels], 0, 0, 0)))
        for start in range(0, height, STRIP):
            rows = np.ascontiguousarray(values[start : start + STRIP], dtype=">u2")
            data = rows.view(np.uint8).reshape(len(rows), -1)
            less = np.diff(data, axis=0, prepend=above)  # modulo 256, as bytes are
            above = data[-1:]
            packed = packer.compress(np.insert(less, 0, UP, axis=1).tobytes())
            stream.write(_chunk(b"IDAT", packed))
        stream.write(_chunk(b"IDAT", packer.flush()))
        stream.write(_chunk(b"IEND", b""))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
