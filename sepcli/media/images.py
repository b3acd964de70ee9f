"""Image input and output: gray and color, 8 and 16 bits, upright, with transparency as a separate array."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sepcli.atomic import write_many
from sepcli.errors import InputError, OutputError
from sepcli.media.names import refuse_existing
from sepcli.media.png16 import write_png16

GRAY16_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes of 16-bit gray images."""
DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
"""Exceptions of Pillow for files that are not images or are damaged."""
GRAY = "sepcli:gray"
"""Text chunk of a PNG file with the weights of its gray, a key of ``sepcli.signal.chroma.GRAYS``."""
DEFAULT_GRAY = "luma"
"""The weights that cameras, scanners and libraries use."""
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
"""Exceptions of Pillow for images of more pixels than ``Image.MAX_IMAGE_PIXELS``."""
STRIP = 256
"""Rows rounded at once."""


@dataclass(frozen=True)
class RasterImage:
    """An image, upright.

    Attributes:
        pixels: (C, H, W) float32 in [0, 1]; C is 1 for gray, 3 for color (red, green, blue).
        alpha: opacity (H, W) uint8; None if there is no transparency.
        bits: 8 or 16 bits per value, as stored; color of 16 bits is read as 8.
        frames: number of images in the file, of which this is the first.
        gray: the text chunk ``GRAY`` of the file, unchecked; "" if it has none.
    """

    pixels: NDArray[np.float32]
    alpha: NDArray[np.uint8] | None = None
    bits: int = 8
    frames: int = 1
    gray: str = ""


def is_image(path: Path) -> bool:
    """Return whether Pillow recognises a file as an image; only its header is read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path):
                return True
    except Image.DecompressionBombError:
        return True
    except DECODE_ERRORS:
        return False


def read_image(path: Path, *, first: bool = False) -> RasterImage:
    """Read an image file; palettes are converted to colors, and the orientation tag is applied.

    Args:
        path: a file in any format of Pillow.
        first: read the first of several frames instead of raising.

    Raises:
        InputError: the file is missing, damaged, too large, has several frames, or values outside [0, 1].
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                frames = getattr(image, "n_frames", 1)
                if frames > 1 and not first:
                    raise InputError(f"{path} contains {frames} images", "use one file per image")
                image.load()
                decoded = _decode(ImageOps.exif_transpose(image), path)
                return replace(decoded, frames=frames, gray=str(image.info.get(GRAY, "")))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", "check the name") from error
    except TOO_LARGE as error:
        raise InputError(
            f"{path} has more than {Image.MAX_IMAGE_PIXELS or 0:,} pixels", "reduce its size first"
        ) from error
    except DECODE_ERRORS as error:
        raise InputError(
            f"{path} is not a readable image: {error}", "check that the file is complete"
        ) from error


def write_images(images: Iterable[tuple[Path, RasterImage]], *, overwrite: bool = False) -> None:
    """Write PNG files, all of them or none; missing folders are created. Values are clipped to [0, 1].

    Args:
        images: paths and images; each is stored before the next is requested.
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
                _encode(raster, part_of(path))
                del raster  # free the memory before the next is requested
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}",
            "free some space or choose another folder",
        ) from error


def has_colors(pixels: NDArray[np.float32]) -> bool:
    """Return whether the channels of an image (C, H, W) differ."""
    return not np.array_equal(pixels, np.broadcast_to(pixels[:1], pixels.shape))


def find_gray(image: RasterImage) -> tuple[str, str]:
    """Return the name of the weights with which the gray of an image was computed, and the reason for it.

    A note in the file takes precedence. Otherwise the default is used: a gray image does not determine its
    weights, and a color image has no gray yet.
    """
    from sepcli.signal.chroma import GRAYS  # imports torch

    if image.gray in GRAYS:
        return image.gray, "stated in the file"
    if has_colors(image.pixels):
        return DEFAULT_GRAY, "color image, whose colors are discarded"
    return DEFAULT_GRAY, "default for gray files" if len(image.pixels) == 1 else "gray image stored as color"


def as_channels(raster: RasterImage, channels: int, path: Path) -> NDArray[np.float32]:
    """Return the pixels (C, H, W) with 1 (gray) or 3 channels (color).

    Raises:
        InputError: one channel is requested, and the image is not gray.
    """
    pixels = raster.pixels
    if pixels.shape[0] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=0)
    if has_colors(pixels):
        raise InputError(f"{path} is in color, but the prior models gray images", "convert it to gray first")
    return pixels[:1]


def _decode(image: Image.Image, path: Path) -> RasterImage:
    if image.mode in GRAY16_MODES:
        data = np.asarray(image)
        if data.min() < 0 or data.max() > 65535:
            raise InputError(f"{path} has values outside 16 bits", "store it with 8 or 16 bits")
        return RasterImage(np.divide(data[None], 65535, dtype=np.float32), bits=16)
    if image.mode == "F":
        values = np.array(image, dtype=np.float32)[None]  # a copy, since the memory of Pillow is read-only
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise InputError(f"{path} has values outside 0 … 1", "scale it, or store it with 8 or 16 bits")
        return RasterImage(values, bits=16)
    gray = image.mode in ("1", "L", "LA", "La")
    transparent = image.has_transparency_data
    mode = ("LA" if transparent else "L") if gray else ("RGBA" if transparent else "RGB")
    data = np.asarray(image.convert(mode))
    data = data[..., None] if data.ndim == 2 else data
    values = np.moveaxis(data[..., : 1 if gray else 3], -1, 0)
    pixels = np.divide(values, 255, dtype=np.float32, order="C")
    return RasterImage(pixels, data[..., -1].copy() if transparent else None)


def _encode(raster: RasterImage, path: Path) -> None:
    deep = raster.bits == 16
    top, kind = (65535, np.uint16) if deep else (255, np.uint8)
    channels, height, width = raster.pixels.shape
    data = np.empty((height, width, channels + (raster.alpha is not None)), kind)
    for start in range(0, height, STRIP):
        rows = slice(start, start + STRIP)
        values = np.moveaxis(raster.pixels[:, rows], 0, -1).astype(np.float64)
        data[rows, :, :channels] = np.rint(np.clip(values, 0.0, 1.0) * top)
    if raster.alpha is not None:
        data[..., -1] = raster.alpha.astype(kind) * (top // 255)
    if deep:
        write_png16(path, data)
    else:
        Image.fromarray(data[..., 0] if data.shape[-1] == 1 else data).save(path, format="PNG")
