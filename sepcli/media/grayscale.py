"""How the gray of an image was made of its red, green and blue, as far as its file tells."""

from __future__ import annotations

import numpy as np

from sepcli.media.images import RasterImage
from sepcli.signal.chroma import GRAYS

USUAL = "luma"
"""What cameras, scanners and libraries make gray files with."""


def is_gray(image: RasterImage) -> bool:
    """Whether an image has no colors, however it is stored."""
    return all(np.array_equal(image.pixels[0], channel) for channel in image.pixels[1:])


def find_gray(image: RasterImage) -> tuple[str, str]:
    """The weights under which the gray of an image is to be read.

    What the file says itself goes first. An image that is gray already says nothing, for weights of sum 1
    make equal channels of any gray; of an image in color, the usual gray is taken.

    Returns:
        A key of ``colorization.GRAYS``, and why it is that one.
    """
    if image.gray in GRAYS:
        return image.gray, "the file says so"
    if not is_gray(image):
        return USUAL, "of a color file, whose colors are dropped"
    return USUAL, "usual for gray files" if len(image.pixels) == 1 else "gray stored as color"
