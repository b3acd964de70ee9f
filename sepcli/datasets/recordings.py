"""One audio file of a data set."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from sepcli.errors import InputError


def decode(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples (T, C) of a file that libsndfile reads, and the sample rate in Hz; they need not be finite.

    Raises:
        InputError: it cannot be decoded.
    """
    try:
        samples, rate = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        reason = getattr(error, "error_string", error)  # without the name, which is bytes
        raise InputError(f"{path} cannot be read as audio ({reason})", "copy or download it again") from error
    return samples, int(rate)


def read_mono(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples (T,) of a file that libsndfile reads, averaged over channels, and the sample rate in Hz.

    Raises:
        InputError: the file is missing, cannot be decoded, is empty or not finite.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}", "check that the data set is complete")
    samples, rate = decode(path)
    mono: NDArray[np.float32] = samples.mean(axis=1)
    if mono.size == 0:
        raise InputError(f"{path} holds no samples", "copy or download it again")
    if not np.isfinite(mono).all():
        raise InputError(f"{path} holds samples that are not finite", "write it again")
    return mono, rate


def read_resampled(path: Path, rate: int) -> NDArray[np.float32]:
    """Read a file like ``read_mono``, as samples (T,) at ``rate`` Hz."""
    return resampled(*read_mono(path), rate)


def resampled(signal: NDArray[np.float32], original: int, rate: int) -> NDArray[np.float32]:
    """Resample samples (T,) from ``original`` Hz to ``rate`` Hz."""
    if original == rate:
        return signal
    return np.asarray(soxr.resample(signal, original, rate), dtype=np.float32)
