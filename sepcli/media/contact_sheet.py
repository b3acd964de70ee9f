"""Contact sheets: a table of images, with a heading above every column and a label before every row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CELL = 112
"""Pixels up to which small images are magnified, by integers; large ones are reduced to four times that."""
GAP, INK, PAPER = 6, (0, 0, 0), (255, 255, 255)
LINE = 12
"""Line height of text in pixels."""


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
    height, width = next(p for p in rows[0] if p is not None).shape[1:]
    scale = max(1, CELL // max(height, width))
    shrink = max(1, -(-max(height, width) // (4 * CELL)))
    size = (max(1, width * scale // shrink), max(1, height * scale // shrink))
    font = ImageFont.load_default()
    lines = [name.split("\n") for name in names]
    left = 2 * GAP + max((int(font.getlength(line)) for label in lines for line in label), default=0)
    cell = max(size[0], *(int(font.getlength(heading)) for heading in columns))
    row = max(size[1], *(LINE * len(label) for label in lines)) + GAP
    top = 3 * GAP + 10
    sheet = Image.new("RGB", (left + len(columns) * (cell + GAP), top + len(rows) * row), PAPER)
    canvas = ImageDraw.Draw(sheet)
    for n, heading in enumerate(columns):
        canvas.text((left + n * (cell + GAP), GAP), heading, fill=INK, font=font)
    for r, (label, images) in enumerate(zip(lines, rows, strict=True)):
        y = top + r * row
        for number, line in enumerate(label):
            canvas.text((GAP, y + LINE * number), line, fill=INK, font=font)
        for n, pixels in enumerate(images):
            if pixels is not None:
                sheet.paste(_thumbnail(pixels, size, shrink), (left + n * (cell + GAP), y))
    return (np.moveaxis(np.asarray(sheet), -1, 0) / 255).astype(np.float32)


def _thumbnail(pixels: NDArray[np.float32], size: tuple[int, int], shrink: int) -> Image.Image:
    data = np.rint(np.clip(np.moveaxis(pixels, 0, -1), 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(np.repeat(data, 3, axis=-1) if data.shape[-1] == 1 else data)
    return image.resize(size, Image.Resampling.BOX if shrink > 1 else Image.Resampling.NEAREST)
