"""Contact sheets: a table of images, with a heading above every column and a label before every row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CELL = 112
"""Pixels up to which small images are magnified, by integers; large ones are reduced to four times that."""
GAP, INK, PAPER = 6, (0, 0, 0), (255, 255, 255)
TEXT = 14
"""Height of letters in pixels."""
LINE = 18
"""Height of a line of text in pixels."""


def contact_sheet(
    rows: Sequence[Sequence[NDArray[np.float32] | None]], columns: Sequence[str], names: Sequence[str]
) -> NDArray[np.float32]:
    """Render a table of images as one image (3, H', W') in [0, 1].

    Args:
        rows: R rows of N images of one size, each (C, H, W) in [0, 1] with C = 1 or 3; None: an empty cell,
            not in the first row.
        columns: N headings.
        names: R labels, which may have several lines.
    """
    size, shrink = _size(next(p for p in rows[0] if p is not None))
    lines = [name.split("\n") for name in names]
    left = 2 * GAP + max(_width(line) for label in lines for line in label)
    cell = max(size[0], *(_width(heading) for heading in columns))
    row = max(size[1], *(LINE * len(label) for label in lines)) + GAP
    top = 2 * GAP + LINE
    sheet = Image.new("RGB", (left + len(columns) * (cell + GAP), top + len(rows) * row), PAPER)
    for n, heading in enumerate(columns):
        _write(sheet, [heading], (left + n * (cell + GAP), GAP))
    for r, (label, images) in enumerate(zip(lines, rows, strict=True)):
        y = top + r * row
        _write(sheet, label, (GAP, y))
        for n, pixels in enumerate(images):
            if pixels is not None:
                sheet.paste(_thumbnail(pixels, size, shrink), (left + n * (cell + GAP), y))
    return (np.moveaxis(np.asarray(sheet), -1, 0) / 255).astype(np.float32)


def contact_grid(images: Sequence[NDArray[np.float32]], names: Sequence[str]) -> NDArray[np.float32]:
    """Render images side by side, in rows of equal length and about a square altogether.

    Args:
        images: N images of one size, each (C, H, W) in [0, 1] with C = 1 or 3.
        names: N labels, which may have several lines.

    Returns:
        (3, H', W') in [0, 1].
    """
    size, shrink = _size(images[0])
    lines = [name.split("\n") for name in names]
    cell = max(size[0], *(_width(line) for label in lines for line in label)) + GAP
    row = size[1] + LINE * max(len(label) for label in lines) + 2 * GAP
    columns = _columns(len(images), cell / row)
    shape = (columns * cell + GAP, -(-len(images) // columns) * row + GAP)
    sheet = Image.new("RGB", shape, PAPER)
    for number, (label, pixels) in enumerate(zip(lines, images, strict=True)):
        x, y = GAP + number % columns * cell, GAP + number // columns * row
        sheet.paste(_thumbnail(pixels, size, shrink), (x, y))
        _write(sheet, label, (x, y + size[1]))
    return (np.moveaxis(np.asarray(sheet), -1, 0) / 255).astype(np.float32)


def _columns(count: int, aspect: float) -> int:
    """Return the number of columns of a nearly square sheet with few empty cells, of cells of an aspect."""

    def cost(columns: int) -> float:
        rows = -(-count // columns)
        return abs(math.log(columns * aspect / rows)) + 4 * (columns * rows / count - 1)

    return min(range(1, count + 1), key=cost)


def _size(pixels: NDArray[np.float32]) -> tuple[tuple[int, int], int]:
    """Return width and height of an image on a sheet, and the factor by which it is reduced."""
    height, width = pixels.shape[1:]
    scale = max(1, CELL // max(height, width))
    shrink = max(1, -(-max(height, width) // (4 * CELL)))
    return (max(1, width * scale // shrink), max(1, height * scale // shrink)), shrink


def _width(text: str) -> int:
    return int(_font().getlength(text)) + 1 if text else 0


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(TEXT)


def _write(sheet: Image.Image, lines: Sequence[str], position: tuple[int, int]) -> None:
    canvas, (x, y) = ImageDraw.Draw(sheet), position
    for number, line in enumerate(lines):
        canvas.text((x, y + LINE * number), line, fill=INK, font=_font())


def _thumbnail(pixels: NDArray[np.float32], size: tuple[int, int], shrink: int) -> Image.Image:
    data = np.rint(np.clip(np.moveaxis(pixels, 0, -1), 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(np.repeat(data, 3, axis=-1) if data.shape[-1] == 1 else data)
    return image.resize(size, Image.Resampling.BOX if shrink > 1 else Image.Resampling.NEAREST)
