"""Harmonic-percussive separation: notes are horizontal lines of a spectrogram, hits vertical ones."""

from __future__ import annotations

import librosa
import numpy as np
from torch import Tensor

from sepcli.baselines.masks import Array, split


def hpss(mixture: Tensor, sample_rate: int, kernel: int = 31) -> Tensor:
    """Separate by the ratio of median filters along time (bass) and along frequency (drums).

    FitzGerald, "Harmonic/percussive separation using median filtering", DAFx 2010; soft masks of squared
    magnitudes.

    Args:
        mixture: (C, T) or (T,).
        sample_rate: Hz.
        kernel: Length of the median filters in bins and frames.

    Returns:
        (2, C, T) or (2, T): drums (percussive) and bass (harmonic), which sum to the mixture.
    """
    return split(mixture, sample_rate, lambda magnitude: percussive_mask(magnitude, kernel))


def percussive_mask(magnitude: Array, kernel: int = 31) -> Array:
    """Return the percussive fraction of magnitudes (F, N)."""
    return np.asarray(librosa.decompose.hpss(magnitude, kernel_size=kernel, mask=True)[1], dtype=np.float64)
