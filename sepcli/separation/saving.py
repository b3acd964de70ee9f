"""Sources of a ``Result`` as bytes of files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import soundfile
import torch

from sepcli.separation.arrays import Layout


def encode(source: Any, layout: Layout, sample_rate: int) -> bytes:
    """Encode a source in the caller's layout as 32-bit float WAV, or as 8-bit PNG.

    Args:
        source: as in ``Result.sources``.
        layout: of that array.
        sample_rate: Hz, of audio.
    """
    array = source.detach().cpu().numpy() if isinstance(source, torch.Tensor) else np.asarray(source)
    signal_axes = 1 if layout.medium == "audio" else 2
    if array.ndim > signal_axes:
        last = layout.device is None and layout.medium == "image"
        axis = layout.channel_axis if layout.channel_axis is not None else (signal_axes if last else 0)
        array = np.moveaxis(array, axis, -1)
    file = io.BytesIO()
    if layout.medium == "audio":
        soundfile.write(file, array.astype(np.float32), sample_rate, format="WAV", subtype="FLOAT")
    else:
        from PIL import Image

        levels = np.rint(array.clip(0.0, 1.0) * 255).astype(np.uint8)
        Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 and levels.ndim == 3 else levels).save(
            file, format="PNG"
        )
    return file.getvalue()
