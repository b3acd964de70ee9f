"""Image input and output: gray and color, 8 and 16 bits, upright, in sRGB, transparency aside."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sepcli.atomic import failed_write, write_many
from sepcli.errors import InputError, OutputError
from sepcli.media.color_profiles import to_srgb
from sepcli.media.names import refuse_existing
from sepcli.media.png16 import write_png16

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
SEVERAL_OF_ONE = ("MPO", "ICO", "PSD")
"""Formats whose further frames are previews, layers or other sizes of the first."""
QUALITY = 95
"""Default quality of JPEG and WebP, 1 to 100."""
WRITERS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
"""Formats that are written, by suffix."""
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
        dpi: pixels per inch, horizontal and vertical, if the file says so.
        exif: metadata of the camera, as bytes of EXIF without the orientation.
        notes: what of the file is not kept.
    """

    pixels: NDArray[np.float32]
    alpha: NDArray[np.uint8] | None = None
    bits: int = 8
    frames: int = 1
    gray: str = ""
    dpi: tuple[float, float] | None = None
    exif: bytes = b""
    notes: tuple[str, ...] = ()

    def with_pixels(self, pixels: NDArray[np.float32]) -> RasterImage:
        """Return an image of other pixels (C, H, W) with all else of this one."""
        return replace(self, pixels=pixels)


def is_image(path: Path) -> bool:
    """Return whether Pillow recognizes a file as an image; only its header is read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _open(path):
                return True
    except Image.DecompressionBombError:
        return True
    except DECODE_ERRORS:
        return False


def read_image(path: Path, *, first: bool = False) -> RasterImage:
    """Read an image file; palettes are converted to colors, and the orientation tag is applied.

    Args:
        path: a file in one of ``FORMATS``.
        first: read the first of several frames instead of raising.

    Raises:
        InputError: the file is missing, damaged, too large, has several frames, or values outside [0, 1].
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with _open(path) as image:
                frames = 1 if image.format in SEVERAL_OF_ONE else getattr(image, "n_frames", 1)
                if frames > 1 and not first:
                    raise InputError(f"{path} contains {frames} images", "use one file per image")
                deep = any("16" in _raw_mode(tile[3]) for tile in getattr(image, "tile", ()))
                image.load()
                upright = ImageOps.exif_transpose(image)
                upright, notes = to_srgb(upright)
                decoded = _decode(upright, path)
                return replace(
                    decoded,
                    frames=frames,
                    gray=str(image.info.get(GRAY, "")),
                    dpi=_dpi(image),
                    exif=_exif(upright),
                    notes=(*notes, *([LOST_BITS] if deep and decoded.bits == 8 else [])),
                )
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


def write_images(
    images: Iterable[tuple[Path, RasterImage]], *, overwrite: bool = False, quality: int = QUALITY
) -> None:
    """Write image files, all of them or none; missing folders are created. Values are clipped to [0, 1].

    Args:
        images: paths and images; each is stored before the next is requested. The suffix decides the format,
            see ``WRITERS``; JPEG has no transparency, and like WebP and color in TIFF 8 bits per value.
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
                _encode(raster, part_of(path), WRITERS.get(path.suffix.lower(), "PNG"), quality)
                del raster  # free the memory before the next is requested
    except OutputError:
        raise
    except OSError as error:
        raise failed_write(path, error) from error


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


def _open(path: Path) -> Image.Image:
    if path.suffix.lower() in (".heic", ".heif"):
        _register_heif(path)
    with path.open("rb") as file:
        file.read(1)  # OSErrors of the file itself, before formats are tried
    Image.init()
    return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])


def _register_heif(path: Path) -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise InputError(
            f"{path} needs a plug-in", "pip install pillow-heif, or convert it to JPEG"
        ) from error
    pillow_heif.register_heif_opener()


def _raw_mode(arguments: Any) -> str:
    """Return the name of the stored values among the arguments of a decoder of Pillow."""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    dpi = image.info.get("dpi")
    if not isinstance(dpi, tuple) or len(dpi) != 2 or not all(1 <= float(value) <= 1e5 for value in dpi):
        return None
    return float(dpi[0]), float(dpi[1])


def _exif(image: Image.Image) -> bytes:
    """Return the EXIF data of an upright image, from which Pillow has removed the orientation."""
    return bytes(image.getexif().tobytes()) if image.getexif() else b""


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


def _encode(raster: RasterImage, path: Path, form: str, quality: int) -> None:
    channels, height, width = raster.pixels.shape
    deep = raster.bits == 16 and (
        form == "PNG" or (form == "TIFF" and channels == 1 and raster.alpha is None)
    )
    alpha = None if form == "JPEG" else raster.alpha
    top, kind = (65535, np.uint16) if deep else (255, np.uint8)
    data = np.empty((height, width, channels + (alpha is not None)), kind)
    for start in range(0, height, STRIP):
        rows = slice(start, start + STRIP)
        values = np.moveaxis(raster.pixels[:, rows], 0, -1).astype(np.float64)
        data[rows, :, :channels] = np.rint(np.clip(values, 0.0, 1.0) * top)
    if alpha is not None:
        data[..., -1] = alpha.astype(kind) * (top // 255)
    if deep and form == "PNG":
        write_png16(path, data, dpi=raster.dpi, exif=raster.exif)
        return
    options: dict[str, Any] = {"dpi": raster.dpi} if raster.dpi else {}
    options |= {"exif": raster.exif} if raster.exif else {}
    if form in ("JPEG", "WEBP"):
        options |= (
            {"quality": quality, "lossless": quality == 100} if form == "WEBP" else {"quality": quality}
        )
    Image.fromarray(data[..., 0] if data.shape[-1] == 1 else data).save(path, format=form, **options)
