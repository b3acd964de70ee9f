"""Draws from a flow of pictures, to be looked at."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sepcli.media.images import Picture, write_pictures
from sepcli.media.sheets import contact_sheet
from sepcli.priors.glow import GlowPrior

TEMPERATURE = 0.7
"""Deviation of the latents, that of the samples in Glow's paper: at 1 few pictures are like the data."""
ROWS, COLUMNS = 4, 8


def draw_pictures(flow: GlowPrior, seed: int, count: int = ROWS * COLUMNS) -> Tensor:
    """Clean pictures of any class (count, C, H, W) at ``TEMPERATURE``, on the CPU."""
    rng = torch.Generator().manual_seed(seed)
    # one by one, in the memory of one, for wide flows of large pictures
    return torch.cat([flow.sample(1, rng, temperature=TEMPERATURE).cpu() for _ in range(count)])


def save_sheet(path: Path, pictures: Tensor) -> None:
    """Write pictures (``ROWS`` · ``COLUMNS``, C, H, W) as one PNG file; what was there is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    rows = pictures.view(ROWS, COLUMNS, *pictures.shape[1:]).numpy()
    sheet = contact_sheet(list(map(list, rows)), [""] * COLUMNS, [""] * ROWS)
    write_pictures([(path, Picture(sheet))], overwrite=True)
