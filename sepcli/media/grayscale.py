"""The weights of red, green and blue in a gray image, as far as the file determines them."""

from __future__ import annotations

import numpy as np

from sepcli.media.images import RasterImage
from sepcli.signal.chroma import GRAYS

DEFAULT = "luma"
"""The weights that cameras, scanners and libraries use."""


def is_gray(image: RasterImage) -> bool:
    """Return whether all channels of an image are equal."""
    return all(np.array_equal(image.pixels[0], channel) for channel in image.pixels[1:])


def find_gray(image: RasterImage) -> tuple[str, str]:
    """Return the name of the weights with which the gray of an image was computed.

    A note in the file takes precedence. Otherwise the default is used: a gray image does not determine its
    weights, and a color image has no gray yet.

    Returns:
        A key of ``sepcli.signal.chroma.GRAYS``, and the reason for it.
    """
    if image.gray in GRAYS:
        return image.gray, "stated in the file"
    if not is_gray(image):
        return DEFAULT, "color image, whose colors are discarded"
    return DEFAULT, "default for gray files" if len(image.pixels) == 1 else "gray image stored as color"
