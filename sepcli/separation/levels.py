"""Conversion of a file's signal to an engine's: downmix, reference level and sample rate."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from sepcli.errors import InputError
from sepcli.separation.blocks import BlockReader
from sepcli.signal.windows import Signal

CANCELLED = 0.1
"""A mean of the channels with less than this fraction of their mean energy has lost the signal."""
GATE = 1e-3
"""Seconds with less than this fraction of the loudest second's energy are pauses: no part of the level."""
PASSBAND = 0.45
"""Up to this fraction of the engine's rate its output survives resampling undamped."""


class Mono(NamedTuple):
    """One channel, and how it goes back to all of them."""

    signal: Signal
    """(T,)."""
    spread: Signal
    """(C,), so that signal · spread is the part of the channels that the one channel stands for."""


def downmix(channels: Signal) -> Mono:
    """Mix channels (C, T) to one at their level: the mean, or, where it cancels, the principal direction."""
    count = len(channels)
    mean = channels.mean(axis=0)
    if count == 1 or np.mean(mean**2) >= CANCELLED * np.mean(channels**2):
        return Mono(mean, np.ones(count))
    direction = np.linalg.eigh(channels @ channels.T)[1][:, -1]
    direction = direction * np.sign(direction[np.abs(direction).argmax()])
    return Mono(direction @ channels / np.sqrt(count), direction * np.sqrt(count))


def measure_gain(reader: BlockReader, reference: float | None) -> float:
    """Read a file once, which also detects any damage, for the gain that brings it to a reference level.

    The level is the RMS of one channel without its pauses. The gain does not bring peaks above full scale; it
    is 1 for silence, and without a reference. The reader, at its start, is rewound.

    Raises:
        InputError: The file is damaged, not finite, or beyond all measure.
    """
    energies: list[float] = []
    peak = 0.0
    while (block := reader.read(reader.info.sample_rate)).shape[-1]:
        mono = downmix(block).signal
        energies.append(float(np.mean(mono**2)))
        peak = max(peak, float(np.abs(mono).max()))
    reader.rewind()
    gain = gain_to(np.array(energies), peak, reference)
    if not 0 < gain < np.inf:
        raise InputError(f"{reader.info.name} holds samples up to {peak:.3g}", "scale it to ±1")
    return gain


def cutoff(engine_rate: int, rate: int) -> float:
    """Upper frequency limit of an engine's estimates at ``rate``, in cycles per sample."""
    return 0.5 if engine_rate == rate else min(0.5, PASSBAND * engine_rate / rate)


def gain_to(energy: NDArray[np.float64], peak: float, reference: float | None) -> float:
    """The gain of ``measure_gain``, of the mean squares of every second of a channel and of its peak."""
    if reference is None or energy.max() <= 0:
        return 1.0
    rms = float(np.sqrt(energy[energy >= GATE * energy.max()].mean()))
    return min(reference / rms, 1.0 / peak)


def resample(signal: Signal, rate: int, target: int, length: int) -> Signal:
    """Resample (T,) from ``rate`` to ``target`` Hz: (length,), which is T · target / rate up to rounding."""
    if rate != target:
        signal = np.asarray(soxr.resample(signal, rate, target, quality="HQ"), dtype=np.float64)
    return np.pad(signal[:length], (0, max(0, length - len(signal))))
