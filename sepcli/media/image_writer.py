"""Image output: PNG and TIFF of 8 and 16 bits, JPEG and WebP."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sepcli.atomic import failed_write, write_many
from sepcli.errors import OutputError
from sepcli.media.names import refuse_existing
from sepcli.media.png16 import write_png16
from sepcli.media.tiff16 import write_tiff16

if TYPE_CHECKING:
    from sepcli.media.images import RasterImage

QUALITY = 95
"""Default quality of JPEG and WebP, 1 to 100."""
WRITERS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
"""Formats that are written, by suffix."""
STRIP = 256
"""Rows rounded at once."""


def write_images(
    images: Iterable[tuple[Path, RasterImage]], *, overwrite: bool = False, quality: int = QUALITY
) -> None:
    """Write image files, all of them or none; missing folders are created. Values are clipped to [0, 1].

    Args:
        images: paths and images; each is stored before the next is requested. The suffix decides the format,
            see ``WRITERS``; JPEG has no transparency, and like WebP and transparent gray in TIFF 8 bits.
        quality: of JPEG and WebP, 1 to 100; WebP of 100 is lossless.
        overwrite: replace existing files.

    Raises:
        OutputError: a file exists or cannot be written.
    """
    path = Path()
    try:
        with write_many() as part_of:
            for path, raster in images:
                refuse_existing(path, overwrite)
                path.parent.mkdir(parents=True, exist_ok=True)
                with part_of(path).open("x+b") as file:
                    _encode(raster, file, WRITERS.get(path.suffix.lower(), "PNG"), quality)
                del raster  # free the memory before the next is requested
    except OutputError:
        raise
    except OSError as error:
        raise failed_write(path, error) from error


def _encode(raster: RasterImage, file: BinaryIO, form: str, quality: int) -> None:
    """Write an image to an empty file, with 16 bits per value if it has them and the format takes them.

    Args:
        raster: the image; values are clipped to [0, 1].
        file: open for reading and writing.
        form: PNG, TIFF, JPEG or WEBP; JPEG has no transparency.
        quality: of JPEG and WebP, 1 to 100.

    Raises:
        OSError: the file cannot be written.
    """
    alpha = None if form == "JPEG" else raster.alpha
    gray_alpha = (
        len(raster.pixels) == 1 and alpha is not None
    )  # of 16 bits, Pillow does not read it from TIFF
    deep = raster.bits == 16 and (form == "PNG" or (form == "TIFF" and not gray_alpha))
    data = _rounded(raster.pixels, alpha, np.uint16 if deep else np.uint8)
    if deep and form == "PNG":
        write_png16(file, data, dpi=raster.dpi, exif=raster.exif)
        return
    if deep and data.shape[-1] > 1:
        write_tiff16(file, data, dpi=raster.dpi, exif=raster.exif)
        return
    options: dict[str, Any] = {"dpi": raster.dpi} if raster.dpi else {}
    options |= {"exif": raster.exif} if raster.exif else {}
    if form in ("JPEG", "WEBP"):
        options |= (
            {"quality": quality, "lossless": quality == 100} if form == "WEBP" else {"quality": quality}
        )
    Image.fromarray(data[..., 0] if data.shape[-1] == 1 else data).save(file, format=form, **options)


def _rounded(
    pixels: NDArray[np.float32], alpha: NDArray[Any] | None, kind: type[np.uint8 | np.uint16]
) -> NDArray[Any]:
    """Return values (C, H, W) in [0, 1], and opacity (H, W), as integers (H, W, C)."""
    channels, height, width = pixels.shape
    top = np.iinfo(kind).max
    data = np.empty((height, width, channels + (alpha is not None)), kind)
    for start in range(0, height, STRIP):
        rows = slice(start, start + STRIP)
        values = np.moveaxis(pixels[:, rows], 0, -1).astype(np.float64)
        data[rows, :, :channels] = np.rint(np.clip(values, 0.0, 1.0) * top)
        if alpha is not None:
            data[rows, :, -1] = np.rint(alpha[rows] / np.iinfo(alpha.dtype).max * top)
    return data
