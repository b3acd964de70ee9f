"""Measurements of the stems as stored, by which silent or unseparated stems are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sepcli.separation.spread import SamplesReport

NEGLIGIBLE = 1e-4
"""A stem, or what it lacks of the mixture, is nothing below this fraction of the mixture's RMS (-80 dB)."""


@dataclass(frozen=True)
class StemReport:
    """Report on one stem of one set."""

    name: str
    rms: float
    """Over all samples and channels; full scale is 1."""
    silent: bool
    equals_mixture: bool
    """Whether the stem is the whole mixture, which is not silent."""


@dataclass(frozen=True)
class DirectionReport:
    """Cost of one direction of the channels; see ``sepcli.separation.levels.directions``."""

    windows: int
    """Windows that had it."""
    elapsed: float
    """Seconds that the engine took for them."""


@dataclass(frozen=True)
class StreamReport:
    """Report on one separated recording."""

    frames: int
    sample_rate: int
    seconds: float
    """Duration of the audio."""
    elapsed: float
    """Processing time in seconds."""
    windows: int
    silent_windows: int
    """Windows of digital silence, which never reached the engine."""
    gain: float
    """Factor on the mixture before the engine (and divisor of its stems)."""
    side_db: float | None
    """Energy of what the mean of the channels lacks, relative to the mean's; None: one of them is silent."""
    directions: tuple[DirectionReport, ...]
    """Cost of the first (for near-mono sound the only one), the second, … direction."""
    rms: float
    """Root mean square of the mixture."""
    residual: float
    """The largest |mixture - Σ stems| of all sets as stored: unless the consistency is none, 0 for integer
    samples, and one rounding for floats."""
    sets: tuple[tuple[StemReport, ...], ...]
    """The stems, one set per writer, the best sample first."""
    samples: SamplesReport | None = None
    """Quality of S ≥ 2 samples; they are kept, one per writer, or combined into one set."""
    denoising_error: float | None = None
    """Denoising error of the separated sources, dB; see ``sepcli.separation.fit``. None: not measured."""

    @property
    def silent(self) -> bool:
        """Whether the mixture itself is silent, so that silent stems are no surprise."""
        return self.rms == 0


class Tally:
    """Running sums over the blocks of one set of K stems."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._samples = 0
        self._mixture = 0.0
        self._stems = np.zeros(len(names))
        self._rest = np.zeros(len(names))
        self.residual = 0.0

    def add(self, stems: NDArray[np.float64], mixture: NDArray[np.float64]) -> None:
        """Count a block: stems (K, C, T) of a mixture (C, T)."""
        self._samples += mixture.size
        self._mixture += float(np.sum(mixture**2))
        self._stems = self._stems + np.sum(stems**2, axis=(1, 2))
        self._rest = self._rest + np.sum((mixture - stems) ** 2, axis=(1, 2))
        self.residual = max(self.residual, float(np.abs(mixture - stems.sum(axis=0)).max(initial=0)))

    @property
    def rms(self) -> float:
        """RMS of the mixture."""
        return float(np.sqrt(self._mixture / max(1, self._samples)))

    def stems(self) -> tuple[StemReport, ...]:
        """The stems so far."""
        nothing = NEGLIGIBLE**2 * self._mixture
        return tuple(
            StemReport(
                name,
                float(np.sqrt(energy / max(1, self._samples))),
                silent=bool(energy <= nothing),
                equals_mixture=bool(rest <= nothing and self._mixture > 0),
            )
            for name, energy, rest in zip(self._names, self._stems, self._rest, strict=True)
        )
