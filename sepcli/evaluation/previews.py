"""A preview of a track: the middle seconds of its signals, or its images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SECONDS = 8.0
"""Seconds of audio that are kept of a track, from its middle."""
REFERENCE = "reference"
"""The row of the true sources."""
MIXTURE = "mixture"


@dataclass(frozen=True, eq=False)
class Clip:
    """A preview of a method's estimate of a stem.

    Attributes:
        row: method, or ``REFERENCE`` or ``MIXTURE``.
        stem: its name.
        signal: audio (T, C), or an image (C, H, W) in [0, 1].
        rate: sample rate in Hz; 0 for images.
    """

    row: str
    stem: str
    signal: NDArray[np.float32]
    rate: int = 0


ClipsOf = Callable[[str], list[Clip]]
"""Returns the clips of a track, by its name; may raise ``SepError`` and take as long as a separation."""


def clip(row: str, stem: str, signal: NDArray[Any], rate: int = 0) -> Clip:
    """Return a preview of a signal: of audio (T, C) the middle seconds, of an image (C, H, W) all of it."""
    if rate:
        length = min(len(signal), round(SECONDS * rate))
        start = (len(signal) - length) // 2
        signal = signal[start : start + length]
    return Clip(row, stem, np.asarray(signal, np.float32), rate)


def clips_of_rows(
    stems: Sequence[str],
    mixture: NDArray[np.float32],
    rows: Mapping[str, Iterable[NDArray[np.float32]]],
    rate: int = 0,
) -> list[Clip]:
    """Return clips of the mixture, then row by row of the K stems; ``REFERENCE`` is the true sources' row."""
    clips = [clip(MIXTURE, MIXTURE, mixture, rate)]
    for row, signals in rows.items():
        clips += [clip(row, stem, signal, rate) for stem, signal in zip(stems, signals, strict=True)]
    return clips
