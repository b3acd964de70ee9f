"""Conversion of a file's signal to an engine's: directions, reference level and sample rate."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from sepcli.errors import InputError
from sepcli.separation.blocks import BlockReader
from sepcli.signal.windows import Signal

SIDE = 10**-2.5
"""A direction with less than this fraction of the first one's energy (-25 dB) is not separated alone."""
CANCELLED = 0.1
"""A mean of the channels with less than this fraction of their mean energy has lost the signal."""
GATE = 1e-3
"""Seconds with less than this fraction of the loudest second's energy are pauses: no part of the level."""
PASSBAND = 0.45
"""Up to this fraction of the engine's rate its output survives resampling undamped."""


class Direction(NamedTuple):
    """A part of all channels that is one signal, and how it goes back to them."""

    signal: Signal
    """(T,)."""
    spread: Signal
    """(C,), so that signal · spread is the part of the channels."""


def directions(channels: Signal, side: bool = True) -> tuple[Direction, ...]:
    """Return the directions of channels (C, T) that have to be separated, each at the channels' level.

    That is their mean if the channels differ from it by less than ``SIDE``, otherwise every principal
    component whose energy is at least ``SIDE`` of the first one's. For one source, panned to anywhere, that
    is a single direction; silent channels have no part in any.

    Args:
        channels: (C, T).
        side: False: a single direction for all, as by ``downmix``.
    """
    mid, rest = side_level(channels)
    if not side or rest <= SIDE * mid:
        return (downmix(channels),)
    audible = channels.any(axis=1)
    count = int(audible.sum())
    energies, vectors = np.linalg.eigh(channels[audible] @ channels[audible].T)
    parts = []
    for energy, vector in zip(energies[::-1], vectors.T[::-1], strict=True):
        if energy >= SIDE * energies[-1]:
            spread = np.zeros(len(channels))
            spread[audible] = vector * np.sign(vector[np.abs(vector).argmax()]) * np.sqrt(count)
            parts.append(Direction(spread @ channels / count, spread))
    return tuple(parts)


def side_level(channels: Signal) -> tuple[float, float]:
    """Return the energies of the mean of channels (C, T), and of what they have besides, per channel."""
    mean = channels.mean(axis=0)
    return float(np.mean(mean**2)), float(np.mean((channels - mean) ** 2))


def downmix(channels: Signal) -> Direction:
    """Mix channels (C, T) to one at their level: the mean, or, where it cancels, the principal direction."""
    count = len(channels)
    mean = channels.mean(axis=0)
    if count == 1 or np.mean(mean**2) >= CANCELLED * np.mean(channels**2):
        return Direction(mean, np.ones(count))
    direction = np.linalg.eigh(channels @ channels.T)[1][:, -1]
    direction = direction * np.sign(direction[np.abs(direction).argmax()])
    return Direction(direction @ channels / np.sqrt(count), direction * np.sqrt(count))


def measure_gain(reader: BlockReader, reference: float | None, side: bool = True) -> float:
    """Read a file once, which also detects any damage, for the gain that brings it to a reference level.

    The level is the RMS of the first of the ``directions``, without its pauses. The gain does not bring peaks
    above full scale; it is 1 for silence, and without a reference. The reader, at its start, is rewound.

    Raises:
        InputError: The file is damaged, not finite, or beyond all measure.
    """
    energies: list[float] = []
    peak = 0.0
    while (block := reader.read(reader.info.sample_rate)).shape[-1]:
        mono = directions(block, side)[0].signal
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
    """The gain of ``measure_gain``, of the mean squares of every second of a signal and of its peak."""
    if reference is None or energy.max() <= 0:
        return 1.0
    rms = float(np.sqrt(energy[energy >= GATE * energy.max()].mean()))
    return min(reference / rms, 1.0 / peak)


def resample(signal: Signal, rate: int, target: int, length: int) -> Signal:
    """Resample (T,) from ``rate`` to ``target`` Hz: (length,), which is T · target / rate up to rounding."""
    if rate != target:
        signal = np.asarray(soxr.resample(signal, rate, target, quality="HQ"), dtype=np.float64)
    return np.pad(signal[:length], (0, max(0, length - len(signal))))
