"""Image files of any size → arrays of bytes of one shape: the middle of each, in means over areas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sepcli.media.images import has_colors, read_image
from sepcli.protocols import ProgressCallback

COMMON = 128
"""The greatest side of images that keep their common size if no size is given."""
DEFAULT = 64
"""The side of all others."""
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Luma weights of red, green and blue (ITU-R BT.601)."""

Pixels = NDArray[np.float32]  # (C, H, W) in [0, 1], C is 1 or 3
Shape = tuple[int, int, int]  # C, H, W


def read_pixels(path: Path) -> Pixels:
    """Read a file's first image (C, H, W); what is transparent becomes white.

    Raises:
        InputError: it cannot be read.
    """
    image = read_image(path, first=True)
    opacity = image.opacity
    return image.pixels if opacity is None else 1.0 - (1.0 - image.pixels) * opacity


@dataclass(frozen=True)
class Decoder:
    """How files become images of one shape.

    Attributes:
        read: a file's pixels; raises ``InputError`` if it is no image.
        size: height and width wanted; None for those that all images have in common.
        channels: 1 or 3; None for 3 if any image has colors, else 1.
        on_progress: called with (files read, all files), from 0 again where they are read twice.
        on_message: called with notes on sizes.
    """

    read: Callable[[Path], Pixels] = read_pixels
    size: tuple[int, int] | None = None
    channels: int | None = None
    on_progress: ProgressCallback | None = None
    on_message: Callable[[str], None] | None = None

    def shape(self, files: Sequence[Path]) -> Shape:
        """Return the given shape, or the one that the images suggest; reads as few as settle it."""
        sizes: set[tuple[int, int]] = set()
        channels, colorized = self.channels, False
        for pixels in self._each(files):
            sizes.add((pixels.shape[1], pixels.shape[2]))
            colorized = colorized or has_colors(pixels)
            if (self.size or not _common(sizes)) and (channels or colorized):
                break
        channels = channels or (3 if colorized else 1)
        if self.size:
            return channels, *self.size
        if _common(sizes):
            return channels, *sizes.pop()
        self.say(f"large images, or of several sizes: scaled to {DEFAULT} × {DEFAULT}")
        return channels, DEFAULT, DEFAULT

    def rows(self, files: Sequence[Path], shape: Shape) -> Iterator[NDArray[np.uint8]]:
        """Every image (C, H, W) in turn."""
        small, example = 0, None
        for path, pixels in zip(files, self._each(files), strict=True):
            if pixels.shape[1] < shape[1] or pixels.shape[2] < shape[2]:
                small, example = small + 1, example or path
            yield as_bytes(pixels, shape)
        if example is not None:
            what = f"of {len(files)} images were smaller than {shape[1]} × {shape[2]}, such as {example}"
            self.say(f"{small} {what}: enlarged")

    def say(self, text: str) -> None:
        """Pass a note on to ``on_message``."""
        if self.on_message:
            self.on_message(text)

    def _each(self, files: Sequence[Path]) -> Iterator[Pixels]:
        for number, path in enumerate(files, 1):
            yield self.read(path)
            if self.on_progress:
                self.on_progress(number, len(files))


def as_bytes(pixels: Pixels, shape: Shape) -> NDArray[np.uint8]:
    """An image (c, h, w) in [0, 1] as (C, H, W): its middle, in means over areas, of 256 levels."""
    channels, height, width = shape
    if len(pixels) > channels:
        pixels = np.einsum("chw,c->hw", pixels, LUMA)[None]
    if pixels.shape[1:] != (height, width):
        down, across = areas(pixels.shape[1:], (height, width))
        pixels = np.asarray(down @ pixels @ across.T, dtype=np.float32)
    data = np.rint(np.clip(pixels, 0.0, 1.0) * 255).astype(np.uint8)
    return np.broadcast_to(data, shape)


def areas(old: Sequence[int], new: Sequence[int]) -> list[NDArray[np.float32]]:
    """For height and width, the share (new, old) that every old pixel has in every new one.

    What is kept is the largest rectangle, about the middle, of the new shape.
    """
    side = min(have / want for have, want in zip(old, new, strict=True))  # of a new pixel, in old ones
    shares = []
    for have, want in zip(old, new, strict=True):
        edges = (have - want * side) / 2 + side * np.arange(want + 1)
        start, stop = edges[:-1, None], edges[1:, None]
        pixel = np.arange(have)
        overlap = np.maximum(np.minimum(stop, pixel + 1) - np.maximum(start, pixel), 0.0)
        shares.append((overlap / side).astype(np.float32))
    return shares


def _common(sizes: set[tuple[int, int]]) -> bool:
    """Whether there is one size, that a network can be trained on."""
    return len(sizes) == 1 and max(max(sizes)) <= COMMON
