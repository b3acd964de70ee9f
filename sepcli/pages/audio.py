"""Audio as parts of a page: an MP3 clip, a spectrogram, a waveform, and a line of values per second."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray
from PIL import Image

from sepcli.media.encoders import open_encoder
from sepcli.media.file_format import FileFormat

MIME = "audio/mpeg"
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Sample rates of MP3, Hz."""
BITRATES = (128_000, 96_000, 64_000, 48_000)
"""Bits per second of a clip; the largest that fits is taken."""
COLUMNS, ROWS = 800, 96
"""Size of a spectrogram in pixels, at most."""
POINTS = 400
"""Points of a waveform."""
LOWEST, HIGHEST = 40.0, 16_000.0
"""Frequencies of a spectrogram, Hz."""
RANGE = 80.0
"""Decibels from the darkest to the brightest value."""
WINDOW = 0.046
"""Seconds of a frame of the spectrogram."""
BLOCK = 512
"""Frames that are transformed at once."""

Signal = NDArray[np.float32]  # (T, C)
Power = NDArray[np.float64]  # (F, columns)


@dataclass(frozen=True)
class Scale:
    """Reference of the drawings of clips, so that its stems can be compared by eye.

    Attributes:
        peak: largest absolute sample.
        power: largest power in a spectrogram.
    """

    peak: float
    power: float


def bitrate_for(seconds: float, clips: int, room: int) -> tuple[int, float]:
    """Return the bit rate of clips that are to fit into ``room`` bytes, and the seconds that fit."""
    for bitrate in BITRATES:
        if seconds * clips * bitrate / 8 <= room:
            return bitrate, seconds
    return BITRATES[-1], room * 8 / (BITRATES[-1] * clips)


def encode_mp3(signal: Signal, rate: int, bitrate: int = BITRATES[0]) -> bytes:
    """Encode a signal (T, C) as MP3, of one or two channels; of more their mean."""
    if signal.shape[1] > 2:
        signal = signal.mean(axis=1, keepdims=True)
    target = rate if rate in RATES else next((r for r in RATES if r > rate), RATES[-2])
    if target != rate:
        signal = soxr.resample(signal, rate, target)
    mono = signal.shape[1] == 1
    most = 64_000 if target < 16_000 else 160_000 if target < 32_000 else 320_000
    form = FileFormat(
        "MP3", target, signal.shape[1], bitrate=min(bitrate * 3 // 4 if mono else bitrate, most)
    )
    file = io.BytesIO()
    encoder = open_encoder(file, form)
    encoder.write(np.clip(signal, -1.0, 1.0))
    encoder.close()
    return file.getvalue()


def spectrum(signal: Signal, rate: int) -> Power:
    """Compute the power of the mean of the channels (T, C) in bands of equal width on a logarithmic axis.

    The lowest band comes last, as in an image. Frames are averaged into at most ``COLUMNS`` columns.
    """
    mono = signal.mean(axis=1, dtype=np.float64)
    size = max(64, 2 ** round(np.log2(WINDOW * rate)))
    hop = max(size // 4, 1 if len(mono) <= size else min(size, (len(mono) - size) // COLUMNS))
    mono = np.pad(mono, (size // 2, size))
    starts = np.arange(0, max(1, len(mono) - size), hop)
    window, bands = np.hanning(size), _bands(size, rate)
    power = np.empty((ROWS, len(starts)))
    for first in range(0, len(starts), BLOCK):
        part = starts[first : first + BLOCK]
        frames = mono[part[:, None] + np.arange(size)] * window
        values = np.abs(np.fft.rfft(frames)) ** 2 / window.sum() ** 2
        total = np.concatenate([np.zeros((len(part), 1)), np.cumsum(values, axis=1)], axis=1)
        low, high = bands
        power[:, first : first + len(part)] = ((total[:, high] - total[:, low]) / (high - low)).T[::-1]
    columns = min(COLUMNS, power.shape[1])
    edges = np.linspace(0, power.shape[1], columns + 1).astype(int)
    return np.add.reduceat(power, edges[:-1], axis=1) / np.diff(edges)


def scale_of(signal: Signal, power: Power) -> Scale:
    """Return the scale of a signal and its spectrum."""
    return Scale(float(np.abs(signal).max(initial=0.0)) or 1.0, float(power.max(initial=0.0)) or 1.0)


def spectrogram(power: Power, scale: Scale) -> bytes:
    """Draw a spectrum as WebP: ``RANGE`` decibels below the largest power of the scale are dark."""
    decibels = 10 * np.log10(np.maximum(power / scale.power, 10 ** (-RANGE / 10)))
    levels = np.rint(255 * (1 + decibels / RANGE)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(_magma()[levels]).save(file, "WEBP", quality=60, method=4)
    return file.getvalue()


def waveform(signal: Signal, scale: Scale) -> str:
    """Return the outline of the mean of the channels (T, C) as a path of SVG: x to ``POINTS``, y ±100."""
    mono = signal.mean(axis=1)
    edges = np.unique(np.linspace(0, len(mono), min(POINTS, len(mono)) + 1).astype(int))
    if len(edges) < 2:
        return ""
    high = np.maximum.reduceat(mono, edges[:-1])
    low = np.minimum.reduceat(mono, edges[:-1])
    step = POINTS / len(high)
    upper = [f"{k * step:.0f} {-100 * y / scale.peak:.0f}" for k, y in enumerate(high)]
    lower = [f"{k * step:.0f} {-100 * y / scale.peak + 1:.0f}" for k, y in reversed([*enumerate(low)])]
    return f"M{'L'.join((*upper, *lower))}Z"


def steps(values: Sequence[float | None], seconds: float, greatest: float) -> str:
    """Return one value per second as a path of SVG of steps: x from 0 to 1000, y from 0 to 100 upwards.

    Seconds without a value are left out.
    """
    parts = []
    for second, value in enumerate(values):
        if value is None:
            continue
        left, right = (1000 * min(edge / seconds, 1.0) for edge in (second, second + 1))
        height = 100 * min(max(value / greatest, 0.0), 1.0)
        parts.append(f"M{left:.1f} 100V{100 - height:.0f}H{right:.1f}V100Z")
    return "".join(parts)


def _bands(size: int, rate: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last bin (exclusive) of every band, from the lowest."""
    top = min(HIGHEST, rate / 2)
    edges = np.geomspace(min(LOWEST, top / 4), top, ROWS + 1) * size / rate
    low = np.minimum(edges[:-1].astype(int), size // 2)
    return low, np.maximum(low + 1, np.minimum(np.ceil(edges[1:]).astype(int), size // 2 + 1))


@cache
def _magma() -> NDArray[np.uint8]:
    from matplotlib import colormaps

    colors: NDArray[np.float64] = np.asarray(colormaps["magma"](np.arange(256)))
    return np.rint(255 * colors[:, :3]).astype(np.uint8)
