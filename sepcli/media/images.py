"""Image input: gray and color, 8 and 16 bits, upright, in sRGB, transparency aside."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sepcli.errors import InputError
from sepcli.media.color_profiles import deep_to_srgb, to_srgb
from sepcli.media.deep_images import Storage, read_deep, storage
from sepcli.media.open_images import open_image, refuse_cut

SEVERAL_OF_ONE = ("MPO", "ICO", "PSD")
"""Formats whose further frames are previews, layers or other sizes of the first."""
LOST_BITS = "16 bits per value are read as 8"
"""Note on color and transparent images, which Pillow reduces."""
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


@dataclass(frozen=True)
class RasterImage:
    """An image, upright.

    Attributes:
        pixels: (C, H, W) float32 in [0, 1]; C is 1 for gray, 3 for color (red, green, blue).
        alpha: opacity (H, W), uint8 or uint16; None if there is no transparency.
        bits: 8 or 16 bits per value, as stored; more than 8 count as 16.
        frames: number of images in the file, of which this is the first.
        gray: the text chunk ``GRAY`` of the file, unchecked; "" if it has none.
        dpi: pixels per inch, horizontal and vertical, if the file says so.
        exif: metadata of the camera, as bytes of EXIF without the orientation.
        notes: what of the file is not kept.
    """

    pixels: NDArray[np.float32]
    alpha: NDArray[np.uint8 | np.uint16] | None = None
    bits: int = 8
    frames: int = 1
    gray: str = ""
    dpi: tuple[float, float] | None = None
    exif: bytes = b""
    notes: tuple[str, ...] = ()

    @property
    def opacity(self) -> NDArray[np.float32] | None:
        """Opacity (H, W) in [0, 1]; None if there is no transparency."""
        if self.alpha is None:
            return None
        return np.divide(self.alpha, np.iinfo(self.alpha.dtype).max, dtype=np.float32)

    def with_pixels(self, pixels: NDArray[np.float32]) -> RasterImage:
        """Return an image of other pixels (C, H, W) with all else of this one."""
        return replace(self, pixels=pixels)


def is_image(path: Path) -> bool:
    """Return whether Pillow recognizes a file as an image; only its header is read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_image(path):
                return True
    except Image.DecompressionBombError:
        return True
    except DECODE_ERRORS:
        return False


def read_image(path: Path, *, first: bool = False) -> RasterImage:
    """Read an image file; palettes are converted to colors, and the orientation tag is applied.

    Args:
        path: a file in one of ``sepcli.media.open_images.FORMATS``.
        first: read the first of several frames instead of raising.

    Raises:
        InputError: the file is missing, damaged, too large, has several frames, or values outside [0, 1].
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with open_image(path) as image:
                frames = 1 if image.format in SEVERAL_OF_ONE else getattr(image, "n_frames", 1)
                if frames > 1 and not first:
                    raise InputError(f"{path} contains {frames} images", "use one file per image")
                stored = storage(image)
                refuse_cut(path, image)
                image.load()
                upright = ImageOps.exif_transpose(image)
                decoded = _decoded(image, upright, stored, path)
                return replace(
                    decoded,
                    frames=frames,
                    gray=str(image.info.get(GRAY, "")),
                    dpi=_dpi(image),
                    exif=_exif(upright),
                )
    except InputError:
        raise
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


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    dpi = image.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2 or not all(1 < float(value) <= 1e5 for value in dpi):
        return None
    return float(dpi[0]), float(dpi[1])


def _exif(image: Image.Image) -> bytes:
    """Return the EXIF data of an upright image, from which Pillow has removed the orientation."""
    return bytes(image.getexif().tobytes()) if image.getexif() else b""


def _decoded(image: Image.Image, upright: Image.Image, stored: Storage, path: Path) -> RasterImage:
    """Return the pixels of a loaded image in sRGB, with 16 bits where it has them."""
    deep = _deep(image, upright, stored, path)
    in_srgb = None if deep is None else deep_to_srgb(deep.pixels, upright)
    if deep is not None and in_srgb is not None:
        pixels, notes = in_srgb
        return replace(deep, pixels=pixels, notes=notes)
    if stored.planar:
        raise InputError(f"{path} has planes of 16 bits that cannot be decoded", "store it as PNG")
    converted, notes = to_srgb(upright)
    decoded = _decode(converted, path)
    lost = (LOST_BITS,) if stored.deep and decoded.bits == 8 else ()
    return replace(decoded, notes=(*notes, *lost))


def _deep(image: Image.Image, upright: Image.Image, stored: Storage, path: Path) -> RasterImage | None:
    """Return the pixels of an image of 16 bits as they are stored; None if it has 8, or they are not read."""
    if upright.mode in GRAY16_MODES:
        return _decode(upright, path)
    if not stored.deep:
        return None
    deep = read_deep(path, image, stored, upright)
    if deep is None:
        return None
    colors = np.divide(np.moveaxis(deep.colors, -1, 0), 65535, dtype=np.float32, order="C")
    return RasterImage(colors, deep.alpha, bits=16)


def _decode(image: Image.Image, path: Path) -> RasterImage:
    if image.mode in GRAY16_MODES:
        data = np.asarray(image)
        if data.min() < 0 or data.max() > 65535:
            raise InputError(f"{path} has values outside 16 bits", "store it with 8 or 16 bits")
        transparent = image.info.get("transparency")
        alpha = (
            np.where(data == transparent, 0, 255).astype(np.uint8) if isinstance(transparent, int) else None
        )
        return RasterImage(np.divide(data[None], 65535, dtype=np.float32), alpha, bits=16)
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
