"""The loudest part of a recording, by which priors and samples are assessed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sepcli.media import MediumName


def loudest(path: Path, medium: MediumName, seconds: float) -> tuple[Any, int]:
    """Return the loudest seconds of a recording (C, T) with its rate, or an image (C, H, W) with 0."""
    import numpy as np

    if medium == "image":
        from sepcli.media.images import read_image

        return read_image(path).pixels, 0
    from sepcli.media.audio import AudioReader

    with AudioReader(path) as reader:
        rate = reader.info.sample_rate
        frames, best, loudest_power = round(seconds * rate), None, -1.0
        while (block := reader.read(frames)).shape[-1]:
            power = float(np.square(block).sum())
            if power > loudest_power:
                best, loudest_power = block, power
    return best, rate
