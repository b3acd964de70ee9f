"""Images as parts of a page: small ones exactly, large ones reduced until all fit."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sepcli.pages.shell import data_url

EXACT = 320
"""Longest side in pixels of an image that is kept exactly, as PNG."""
SIDE, LEAST_SIDE = 1600, 200
"""Longest side of others: at first, and at last."""
QUALITY = 85
"""Quality of WebP."""

Pixels = NDArray[np.float32]  # (C, H, W) in [0, 1]


@dataclass(frozen=True)
class Encoded:
    """An image in a page.

    Attributes:
        source: its URL.
        width: pixels that it is wide at a zoom of 1.
        exact: whether no pixel is lost.
    """

    source: str
    width: int
    exact: bool


def encode_all(images: Sequence[Pixels], room: int) -> list[Encoded]:
    """Encode images so that all together have ``room`` bytes at most, or ``LEAST_SIDE`` pixels each."""
    side = SIDE
    while True:
        encoded = [_encode(pixels, side) for pixels in images]
        if side <= LEAST_SIDE or sum(len(one.source) for one in encoded) <= room:
            return encoded
        side = max(LEAST_SIDE, side * 7 // 10)


def zoom_of(images: Sequence[Encoded]) -> int:
    """Return the zoom at which the images can be seen well: 1 unless they are small."""
    return max(1, min(8, 160 // max((image.width for image in images), default=160)))


def to_image(pixels: Pixels) -> Image.Image:
    """Return an image of 8 bits per value; values beyond [0, 1] are clamped."""
    values = np.rint(255 * np.clip(pixels, 0.0, 1.0)).astype(np.uint8)
    return Image.fromarray(
        values[0] if len(values) == 1 else np.ascontiguousarray(np.moveaxis(values, 0, -1))
    )


def _encode(pixels: Pixels, side: int) -> Encoded:
    image, file = to_image(pixels), io.BytesIO()
    exact = max(image.size) <= min(EXACT, side)
    if exact:
        image.save(file, "PNG")
    else:
        image.thumbnail((side, side))
        image.convert("RGB").save(file, "WEBP", quality=QUALITY)
    return Encoded(
        data_url("image/png" if exact else "image/webp", file.getvalue()), min(image.width, EXACT), exact
    )
