"""Images of 16 bits per value in color or with transparency, which Pillow reduces to 8, by FFmpeg (PyAV).

FFmpeg reads fewer kinds of TIFF than Pillow, and not all of them rightly (tiles), so that its values are only
used if their upper bytes are those of Pillow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DEMUXERS = {"PNG": "png_pipe", "TIFF": "tiff_pipe", "PPM": "ppm_pipe"}
"""Formats of Pillow → FFmpeg's demuxers of them."""
BITS_PER_SAMPLE, TILE_WIDTH = 258, 322
"""Tags of TIFF (TIFF 6.0)."""
ORIENTATION = 0x0112
"""Tag of EXIF."""
ALIGNMENT = 128
"""Pixels by which FFmpeg extends an image in memory, at most."""
STRIP = 256
"""Rows compared at once."""


@dataclass(frozen=True)
class DeepImage:
    """Values of 16 bits.

    Attributes:
        colors: (H, W, C), C is 1 or 3.
        alpha: opacity (H, W); None if there is none.
    """

    colors: NDArray[np.uint16]
    alpha: NDArray[np.uint16] | None


@dataclass(frozen=True)
class Storage:
    """How an image is stored, as far as its header says.

    Attributes:
        deep: whether it has 16 bits per value that Pillow reduces.
        planar: whether it has 16-bit planes of color that Pillow reads as planes of 8 bits, which is wrong.
        tiled: whether it is cut into tiles.
        turn: its orientation, 1 to 8, as in EXIF; None: not said before the image itself.
    """

    deep: bool
    planar: bool = False
    tiled: bool = False
    turn: int | None = None


def storage(image: Image.Image) -> Storage:
    """Return how an opened image is stored; once it is loaded, Pillow no longer says it."""
    codec, modes, most = _coding(image)
    deep = any("16" in mode for mode in modes) or most > 255
    tags: Any = getattr(image, "tag_v2", {})
    if 16 not in tags.get(BITS_PER_SAMPLE, ()):
        return Storage(deep)
    planar = codec == "raw" and len(image.getbands()) > 1 and any(len(mode) == 1 for mode in modes)
    return Storage(True, planar, TILE_WIDTH in tags, tags.get(ORIENTATION, 1))


def read_deep(path: Path, image: Image.Image, stored: Storage, upright: Image.Image) -> DeepImage | None:
    """Return the values of an image of 16 bits; None if FFmpeg does not read them as Pillow does.

    Args:
        path: the file.
        image: in 8 bits, as Pillow reads it.
        stored: how it is stored.
        upright: the image, upright.
    """
    demuxer = DEMUXERS.get(image.format or "")
    values = None if demuxer is None else _decoded(path, demuxer, *upright.size)
    if values is None:
        return None
    values = oriented(values, image.getexif().get(ORIENTATION, 1) if stored.turn is None else stored.turn)
    colors = values[..., : 1 if values.shape[-1] < 3 else 3]
    if values.shape[:2] != (upright.height, upright.width):
        return None
    if stored.tiled if stored.planar else not _like(colors, upright):
        return None
    transparent = values.shape[-1] in (2, 4) and upright.has_transparency_data
    return DeepImage(colors, values[..., -1] if transparent else None)


def oriented(values: NDArray[Any], turn: int) -> NDArray[Any]:
    """Return an image (H, W, …) upright, which is stored in an orientation of EXIF, 1 to 8."""
    if turn in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        values = values[::-1]
    return values[:, ::-1] if turn in (2, 3, 6, 7) else values


def _coding(image: Image.Image) -> tuple[str, list[str], int]:
    """Return Pillow's codec, the names of stored values, and the greatest value where the header has it."""
    codec, modes, most = "", [], 0
    for tile in getattr(image, "tile", ()):
        codec, arguments = tile[0], tile[3]
        parts = arguments if isinstance(arguments, tuple) else (arguments,)
        modes += [part for part in parts[:1] if isinstance(part, str)]
        if codec == "ppm" and image.mode == "RGB":
            most = max(most, int(parts[1]))
    return codec, modes, most


def _decoded(path: Path, demuxer: str, width: int, height: int) -> NDArray[np.uint16] | None:
    """Return the values (H, W, C) of the first image in a file; None if it is damaged, or has no 16 bits.

    Args:
        path: the file.
        demuxer: FFmpeg's, of its format.
        width: of the image, or its height; larger ones are not decoded.
        height: likewise.
    """
    import av

    most = {"max_pixels": str((width + ALIGNMENT) * (height + ALIGNMENT))}
    trusted = {"format_whitelist": demuxer, "protocol_whitelist": "none"}
    try:
        with path.open("rb") as file:
            container: Any = av.open(file, format=demuxer, options=most, container_options=trusted)
            with container:
                context = container.streams.video[0].codec_context
                context.thread_count, context.options = 1, most
                return _values(next(container.decode(video=0)))
    except (av.error.FFmpegError, OSError, ValueError, LookupError, StopIteration):
        return None


def _values(frame: Any) -> NDArray[np.uint16] | None:
    """Return the values (H, W, C) of a frame; None if it has no 16 bits in one of the expected layouts."""
    name = frame.format.name.removesuffix("le").removesuffix("be")
    if name == "ya16":  # gray and opacity, which PyAV does not convert
        plane = frame.planes[0]
        data = np.frombuffer(plane, ">u2" if frame.format.name.endswith("be") else "<u2")
        rows = data.reshape(frame.height, plane.line_size // 2)[:, : 2 * frame.width]
        return rows.reshape(frame.height, frame.width, 2).astype(np.uint16)
    return np.asarray(frame.to_ndarray()) if name in ("rgb48", "rgba64", "gbrp16") else None


def _like(colors: NDArray[np.uint16], upright: Image.Image) -> bool:
    """Return whether values (H, W, C) are those of an image in 8 bits, up to rounding."""
    for start in range(0, upright.height, STRIP):
        stop = min(start + STRIP, upright.height)
        part = upright.crop((0, start, upright.width, stop)).convert("RGB")
        upper = (colors[start:stop] >> 8).astype(np.int16)
        if np.abs(upper - np.asarray(part)).max() > 1:
            return False
    return True
