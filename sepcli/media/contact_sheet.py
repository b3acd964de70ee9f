"""Contact sheets: images side by side, with a word above every column and before every row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CELL = 112
"""Small images are magnified by whole numbers up to so many pixels; large ones reduced to four times it."""
GAP, INK, PAPER = 6, (0, 0, 0), (255, 255, 255)
LINE = 12
"""Pixels from one line of words to the next."""


def contact_sheet(
    rows: Sequence[Sequence[NDArray[np.float32] | None]], columns: Sequence[str], names: Sequence[str]
) -> NDArray[np.float32]:
    """Draw a table of images.

    Args:
        rows: images of one size, each (C, H, W) in [0, 1] with C = 1 or 3; R rows of N images, the
            first row whole; None leaves a place empty.
        columns: N words.
        names: R of them, of a few lines each.

    Returns:
        (3, H', W') in [0, 1].
    """
    height, width = next(p for p in rows[0] if p is not None).shape[1:]
    scale = max(1, CELL // max(height, width))
    shrink = max(1, -(-max(height, width) // (4 * CELL)))
    size = (max(1, width * scale // shrink), max(1, height * scale // shrink))
    font = ImageFont.load_default()
    lines = [name.split("\n") for name in names]
    left = 2 * GAP + max((int(font.getlength(line)) for own in lines for line in own), default=0)
    cell = max(size[0], *(int(font.getlength(word)) for word in columns))
    row = max(size[1], *(LINE * len(own) for own in lines)) + GAP
    top = 3 * GAP + 10
    sheet = Image.new("RGB", (left + len(columns) * (cell + GAP), top + len(rows) * row), PAPER)
    draw = ImageDraw.Draw(sheet)
    for n, word in enumerate(columns):
        draw.text((left + n * (cell + GAP), GAP), word, fill=INK, font=font)
    for r, (own, images) in enumerate(zip(lines, rows, strict=True)):
        y = top + r * row
        for number, line in enumerate(own):
            draw.text((GAP, y + LINE * number), line, fill=INK, font=font)
        for n, pixels in enumerate(images):
            if pixels is not None:
                sheet.paste(_thumbnail(pixels, size, shrink), (left + n * (cell + GAP), y))
    return (np.moveaxis(np.asarray(sheet), -1, 0) / 255).astype(np.float32)


def _thumbnail(pixels: NDArray[np.float32], size: tuple[int, int], shrink: int) -> Image.Image:
    data = np.rint(np.clip(np.moveaxis(pixels, 0, -1), 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(np.repeat(data, 3, axis=-1) if data.shape[-1] == 1 else data)
    return image.resize(size, Image.Resampling.BOX if shrink > 1 else Image.Resampling.NEAREST)
