"""One audio file of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from sepcli.errors import InputError
from sepcli.media.audio import AudioReader


def decode(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples (T, C) of an audio file, and the sample rate in Hz.

    Raises:
        InputError: it cannot be decoded, is empty, or has samples that are not finite.
    """
    if not path.exists():
        raise InputError(f"there is no file {path}", "check that the data set is complete")
    with AudioReader(path) as reader:
        return reader.read(reader.info.frames).T.astype(np.float32), reader.info.sample_rate


def read_mono(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples (T,) of an audio file, averaged over channels, and the sample rate in Hz; see ``decode``."""
    samples, rate = decode(path)
    return samples.mean(axis=1), rate


def read_resampled(path: Path, rate: int) -> NDArray[np.float32]:
    """Read a file like ``read_mono``, as samples (T,) at ``rate`` Hz."""
    return resampled(*read_mono(path), rate)


def resampled(signal: NDArray[np.float32], original: int, rate: int) -> NDArray[np.float32]:
    """Resample samples (T,) from ``original`` Hz to ``rate`` Hz."""
    if original == rate:
        return signal
    return np.asarray(soxr.resample(signal, original, rate), dtype=np.float32)
