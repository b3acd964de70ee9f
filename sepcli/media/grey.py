"""How the grey of a picture was made of its red, green and blue, as far as its file tells."""

from __future__ import annotations

import numpy as np

from sepcli.colouring import GREYS
from sepcli.media.images import Picture

USUAL = "luma"
"""What cameras, scanners and libraries make grey files with."""


def is_grey(picture: Picture) -> bool:
    """Whether a picture has no colours, however it is stored."""
    return all(np.array_equal(picture.pixels[0], channel) for channel in picture.pixels[1:])


def find_grey(picture: Picture) -> tuple[str, str]:
    """The weights under which the grey of a picture is to be read.

    What the file says itself goes first. A picture that is grey already says nothing, for weights of sum 1
    make equal channels of any grey; of a picture in colour, the usual grey is taken.

    Returns:
        A key of ``colouring.GREYS``, and why it is that one.
    """
    if picture.grey in GREYS:
        return picture.grey, "the file says so"
    if not is_grey(picture):
        return USUAL, "of a colour file, whose colours are dropped"
    return USUAL, "usual for grey files" if len(picture.pixels) == 1 else "grey stored as colour"
