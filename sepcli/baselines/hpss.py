"""Harmonic-percussive separation: notes are horizontal lines of a spectrogram, hits vertical ones.

Source: FitzGerald 2010, "Harmonic/percussive separation using median filtering", DAFx.
"""

from __future__ import annotations

import librosa
import numpy as np
from torch import Tensor

from sepcli.baselines.masks import Array, split


def hpss(mixture: Tensor, sample_rate: int, kernel: int = 31) -> Tensor:
    """Separate by soft masks of squared median filters along time (bass) and along frequency (drums).

    The filters have ``kernel`` bins or frames.
    """
    return split(mixture, sample_rate, lambda magnitude: percussive_mask(magnitude, kernel))


def percussive_mask(magnitude: Array, kernel: int = 31) -> Array:
    """Return the percussive fraction of magnitudes (F, N)."""
    return np.asarray(librosa.decompose.hpss(magnitude, kernel_size=kernel, mask=True)[1], dtype=np.float64)
