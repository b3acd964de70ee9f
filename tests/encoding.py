"""Audio files of a format, written at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sepcli.media.encoders import open_encoder
from sepcli.media.file_format import FileFormat


def encode(path: Path, samples: np.ndarray, form: FileFormat) -> bytes:
    """Write samples (T, C) to a file; return its bytes."""
    with path.open("w+b") as file:
        encoder = open_encoder(file, form)
        encoder.write(samples)
        encoder.close()
    return path.read_bytes()
