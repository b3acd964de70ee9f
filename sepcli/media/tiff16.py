"""TIFF files of 16 bits per value in color, which Pillow cannot write: its tags, and values as they are."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
OFFSETS, SAMPLES, ROWS, COUNTS = 273, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, EXTRA_SAMPLES = 282, 283, 296, 338
"""Tags (TIFF 6.0, section 8)."""
UNCOMPRESSED, RGB, INCH, UNASSOCIATED = 1, 2, 2, 2
"""Values of tags."""
TEXTS = (270, 271, 272, 305, 306, 315, 33432)
"""Tags of EXIF that TIFF has itself: description, maker, model, software, date, artist, copyright."""
EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965
"""Tags of EXIF that hold tags."""
STRIP = 64
"""Rows per strip."""


def write_tiff16(
    file: BinaryIO, values: NDArray[np.uint16], *, dpi: tuple[float, float] | None = None, exif: bytes = b""
) -> None:
    """Write an image of 16 bits per value to an empty file, without compression.

    Args:
        file: the file.
        values: (H, W, C), color (C = 3), plus one channel for opacity.
        dpi: pixels per inch, horizontal and vertical.
        exif: EXIF data.

    Raises:
        OSError: the file cannot be written.
    """
    height, width, channels = values.shape
    starts = range(0, height, STRIP)
    rows = width * channels * 2
    tags: Any = ImageFileDirectory_v2()
    for tag, value in _from_exif(exif).items():
        tags[tag] = value
    tags[WIDTH], tags[HEIGHT], tags[BITS] = width, height, (16,) * channels
    tags[COMPRESSION], tags[PHOTOMETRIC], tags[SAMPLES], tags[ROWS] = UNCOMPRESSED, RGB, channels, STRIP
    tags[OFFSETS] = tuple(
        start * rows for start in starts
    )  # from the end of the tags, which is added to them
    tags[COUNTS] = tuple(min(STRIP, height - start) * rows for start in starts)
    if channels == 4:
        tags[EXTRA_SAMPLES] = UNASSOCIATED
    if dpi is not None:
        tags[X_RESOLUTION], tags[Y_RESOLUTION], tags[RESOLUTION_UNIT] = *dpi, INCH
    file.seek(tags.save(file))
    for start in starts:
        file.write(values[start : start + STRIP].astype("<u2").tobytes())


def _from_exif(data: bytes) -> dict[int, Any]:
    """Return the tags of EXIF data that describe the image, not how it is stored."""
    if not data:
        return {}
    exif = Image.Exif()
    exif.load(data)
    tags: dict[int, Any] = {tag: exif[tag] for tag in TEXTS if tag in exif}
    for tag in (EXIF, GPS):
        if group := {key: value for key, value in exif.get_ifd(tag).items() if key != INTEROPERABILITY}:
            tags[tag] = group
    return tags
