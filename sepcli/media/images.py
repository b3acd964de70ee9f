"""Image files ↔ arrays: gray and color, 8 and 16 bits, turned upright, with transparency kept aside."""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sepcli.errors import InputError, OutputError
from sepcli.media.png16 import write_deep_png

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm", ".gif")
"""What is taken from a folder; a file named by itself may be called anything."""
DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes of 16-bit gray images."""
BROKEN = (
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
"""What Pillow raises over a file that is no image, or no whole one."""
GRAY = "sepcli:gray"
"""The text chunk of a PNG file that says what its gray is of red, green and blue, a key of ``GRAYS``."""
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
"""What it raises over images of more pixels than ``Image.MAX_IMAGE_PIXELS``."""
STRIP = 256
"""Rows that are rounded at once."""


@dataclass(frozen=True)
class RasterImage:
    """An image, upright.

    Attributes:
        pixels: (C, H, W) float32 in [0, 1]; C is 1 for gray, 3 for color (red, green, blue).
        alpha: opacity (H, W) uint8; None if there is no transparency.
        bits: 8 or 16 per value, as stored; color of 16 bits is read as 8.
        frames: how many images the file holds, of which this is the first.
        gray: what the file says in its text chunk ``GRAY``, anything; "" if it has none.
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
    except BROKEN:
        return False


def read_image(path: Path, *, first: bool = False) -> RasterImage:
    """Read any file that Pillow knows; palettes become colors, and the camera's orientation is applied.

    Args:
        path: The file.
        first: Take the first of several frames.

    Raises:
        InputError: It is missing, damaged, too large, of several frames, or not in [0, 1] (floating point).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                frames = getattr(image, "n_frames", 1)
                if frames > 1 and not first:
                    raise InputError(f"{path} holds several images", "Give one file per image.")
                image.load()
                decoded = _decode(ImageOps.exif_transpose(image), path)
                return replace(decoded, frames=frames, gray=str(image.info.get(GRAY, "")))
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}", "Check the name.") from error
    except TOO_LARGE as error:
        raise InputError(
            f"{path} has more than {Image.MAX_IMAGE_PIXELS or 0:,} pixels", "Make it smaller first."
        ) from error
    except BROKEN as error:
        raise InputError(f"{path} cannot be read as an image ({error})", "Check that it is whole.") from error


def write_images(images: Iterable[tuple[Path, RasterImage]], *, overwrite: bool = False) -> None:
    """Write PNG files, all of them or none; missing folders are made. Values are clamped to [0, 1].

    Args:
        images: Files and what is to be in them; one is stored before the next is asked for.
        overwrite: Replace files that exist.

    Raises:
        OutputError: A file exists, or a place cannot be written.
    """
    parts: dict[Path, Path] = {}
    placed: list[Path] = []
    try:
        for path, raster in images:
            if os.path.isdir(path) or (os.path.lexists(path) and not overwrite):
                raise OutputError(
                    f"{path} exists already", "use --overwrite to replace it, or another --out folder"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            parts[path] = path.parent / f".sepcli-{os.getpid()}-{secrets.token_hex(4)}.part"
            _encode(raster, parts[path])
            del raster  # before the next is asked for
        for path, part in parts.items():
            new = not path.exists()
            part.replace(path)
            placed += [path] * new
    except BaseException as error:
        for done in placed:
            done.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(
                f"cannot write {path}: {error.strerror or error}",
                "free some space or choose another --out folder",
            ) from error
        raise
    finally:
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def as_channels(raster: RasterImage, channels: int, path: Path) -> NDArray[np.float32]:
    """The pixels (C, H, W) as gray (1) or color (3); colors become gray only if they are.

    Raises:
        InputError: The image has colors and gray is wanted.
    """
    pixels = raster.pixels
    if pixels.shape[0] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=0)
    if not np.array_equal(pixels, np.broadcast_to(pixels[:1], pixels.shape)):
        raise InputError(f"{path} has colors, the prior is of gray images", "Make it gray first.")
    return pixels[:1]


def _decode(image: Image.Image, path: Path) -> RasterImage:
    if image.mode in DEEP:
        deep = np.asarray(image)
        if deep.min() < 0 or deep.max() > 65535:
            raise InputError(f"{path} has values outside 16 bits", "Store it with 8 or 16 bits.")
        return RasterImage(np.divide(deep[None], 65535, dtype=np.float32), bits=16)
    if image.mode == "F":
        values = np.array(image, dtype=np.float32)[None]  # a copy, for Pillow's own memory is read-only
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise InputError(f"{path} has values outside 0 … 1", "Scale it, or store it with 8 or 16 bits.")
        return RasterImage(values, bits=16)
    gray = image.mode in ("1", "L", "LA", "La")
    clear = image.has_transparency_data
    data = np.asarray(image.convert(("LA" if clear else "L") if gray else ("RGBA" if clear else "RGB")))
    data = data[..., None] if data.ndim == 2 else data
    shown = np.moveaxis(data[..., : 1 if gray else 3], -1, 0)
    pixels = np.divide(shown, 255, dtype=np.float32, order="C")
    return RasterImage(pixels, data[..., -1].copy() if clear else None)


def _encode(raster: RasterImage, path: Path) -> None:
    """Write one PNG file."""
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
        write_deep_png(path, data)
    else:
        Image.fromarray(data[..., 0] if data.shape[-1] == 1 else data).save(path, format="PNG")
