"""Draws from a flow of images, to be looked at."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sepcli.media.contact_sheet import contact_sheet
from sepcli.media.images import RasterImage, write_images
from sepcli.priors.images.glow import GlowPrior

TEMPERATURE = 0.7
"""Standard deviation of the latents, that of the samples in Glow's paper: at 1 few images are like the data."""
ROWS, COLUMNS = 4, 8


def draw_images(flow: GlowPrior, seed: int, count: int = ROWS * COLUMNS) -> Tensor:
    """Clean images of any class (count, C, H, W) at ``TEMPERATURE``, on the CPU."""
    rng = torch.Generator().manual_seed(seed)
    # one by one, in the memory of one, for wide flows of large images
    return torch.cat([flow.sample(1, rng, temperature=TEMPERATURE).cpu() for _ in range(count)])


def save_sheet(path: Path, images: Tensor) -> None:
    """Write images (``ROWS`` · ``COLUMNS``, C, H, W) as one PNG file; what was there is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    rows = images.view(ROWS, COLUMNS, *images.shape[1:]).numpy()
    sheet = contact_sheet(list(map(list, rows)), [""] * COLUMNS, [""] * ROWS)
    write_images([(path, RasterImage(sheet))], overwrite=True)
