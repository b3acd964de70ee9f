"""Colorize photographs of known colors, and show gray, the first of several samples, and the photograph.

    python examples/plot_colors.py PHOTO... --out examples/colors.jpg

A row per photograph, cut to 3 : 2. The gray is luma, as in gray files. The picture of the README shows four
of scikit-image's: chelsea.png, coffee.png, astronaut.png and rocket.jpg of ``skimage/data``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

import sepcli

SIZE, GAP = (210, 140), 4
"""Width and height of a picture, and white between two of them, in pixels."""

Picture = NDArray[np.float32]  # (H, W, 3) in [0, 1]


def row_of(photograph: Picture, colorizer: sepcli.Separator, samples: int) -> list[Picture]:
    """Return gray, the first sample, and the photograph."""
    gray = photograph @ np.array([0.299, 0.587, 0.114], np.float32)
    colors = colorizer.separate(torch.from_numpy(gray), samples=samples, seed=0)
    first = np.asarray(colors["colorized"]).transpose(1, 2, 0)
    return [np.repeat(gray[..., None], 3, axis=-1), first, photograph]


def joined(pictures: list[Picture], axis: int) -> Picture:
    """Return pictures of one size in a line, with white between them."""
    white = np.ones_like(pictures[0][:, :GAP] if axis else pictures[0][:GAP])
    return np.concatenate([part for picture in pictures for part in (picture, white)][:-1], axis=axis)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photographs", type=Path, nargs="+")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    colorizer = sepcli.load("cifar10", device="cpu", colorize="luma", samples=options.samples)
    rows = []
    for path in options.photographs:
        with Image.open(path) as image:
            small = ImageOps.fit(image.convert("RGB"), SIZE)
        rows.append(joined(row_of(np.asarray(small, np.float32) / 255, colorizer, options.samples), 1))
    Image.fromarray((255 * joined(rows, 0)).round().astype(np.uint8)).save(options.out, quality=90)


if __name__ == "__main__":
    main()
