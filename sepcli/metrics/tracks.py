"""One track, as the metrics of audio in ``METRICS`` take it: ``fn(track) -> (K,) or (K, windows)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sepcli.metrics import audio
from sepcli.metrics.bsseval import bss_eval

WINDOW_SECONDS = 1.0
Array = NDArray[np.float64]
Signals = NDArray[np.float32]


@dataclass(frozen=True)
class Track:
    """References and estimates (K, T, C) in the same order, their mixture (T, C), and the rate in Hz."""

    references: Signals
    estimates: Signals
    mixture: Signals
    sample_rate: int

    @property
    def window(self) -> int:
        """Samples per window."""
        return round(WINDOW_SECONDS * self.sample_rate)

    @cached_property
    def bss(self) -> Array:
        """ISR, SIR and SAR by museval, (3, K, windows); computed once, as they share their filters."""
        return bss_eval(self.references, self.estimates, self.window)

    def by_source(self, measure: Callable[[Signals, Signals], Array]) -> Array:
        """Values (K,), source by source: a whole track in float64 takes memory."""
        pairs = zip(self.references, self.estimates, strict=True)
        return np.array([float(measure(reference, estimate)) for reference, estimate in pairs])


def sdr(track: Track) -> Array:
    """Signal-to-distortion ratio per window."""
    return audio.sdr(track.references, track.estimates, track.window)


def usdr(track: Track) -> Array:
    """SDR of the whole track."""
    return track.by_source(audio.usdr)


def si_sdr(track: Track) -> Array:
    """Scale-invariant SDR."""
    return track.by_source(audio.si_sdr)


def si_sdri(track: Track) -> Array:
    """Scale-invariant SDR minus that of the mixture."""
    return track.by_source(lambda s, s_hat: audio.si_sdr_improvement(s, s_hat, track.mixture))


def si_sar(track: Track) -> Array:
    """Scale-invariant signal-to-artifacts ratio."""
    return audio.si_sar(track.references, track.estimates)


def mrstft(track: Track) -> Array:
    """Multi-resolution STFT distance."""
    return track.by_source(lambda s, s_hat: np.asarray(audio.mrstft(s, s_hat)))


def pes(track: Track) -> Array:
    """Predicted energy at silence per window, relative to the mixture."""
    return audio.energy_at_silence(track.references, track.estimates, track.mixture, track.window)


def isr(track: Track) -> Array:
    """Source image to spatial distortion ratio per window."""
    return np.asarray(track.bss[0])


def sir(track: Track) -> Array:
    """Source to interference ratio per window."""
    return np.asarray(track.bss[1])


def sar(track: Track) -> Array:
    """Source to artifacts ratio per window."""
    return np.asarray(track.bss[2])
