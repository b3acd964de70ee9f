"""Toy waves: four oscillators at the pitches of a piano, computed from a seed; nothing is on disk.

    key n in {0.1, 0.2 … 64.9}    f = 440 · 2^((n - 49)/12) Hz    period P = ⌊14,700/f⌋ samples
    phase φ in {0 … P - 1}        amplitude a in [0.8, 1)         x_t = a · shape(((t + φ) mod P)/P)

all of them uniform. A mixture is the mean of one wave of every shape. A split is a fixed number of items, and
item n of a shape is the same in every set of the same split, seed and shape.

Source: Frank 2020, "Unsupervised variational source separation with deep priors", the toy data of its
    experiments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sepcli.datasets.pair_folder import Pair
from sepcli.errors import UsageError

SAMPLE_RATE = 14_700
LENGTH = 48_000
"""Samples of an item."""
SEPARATED = 16_384
"""Samples of an item that are separated: 1.1 s, as in the test of the priors."""
SIZES: Mapping[str, int] = {"train": 5_000, "test": 1_500}
"""Split → its number of items."""
KEYS = np.arange(1, 650) / 10
"""Keys of a piano, counted from 1, and what is between them."""
QUIETEST, PEAK = 0.8, 1.0
"""The least amplitude, and what all are below."""

Array = NDArray[np.float64]

SHAPES: Mapping[str, Callable[[Array], Array]] = {
    "sine": lambda u: np.sin(2 * np.pi * u),
    "square": lambda u: np.where(u < 0.5, 1.0, -1.0),
    "sawtooth": lambda u: 2 * u - 1,
    "triangle": lambda u: 1 - 4 * np.abs(u - 0.5),
}
"""One period of each: the part of it that is over, in [0, 1), → the value, in [-1, 1]."""


class ToyWaves:
    """A split of toy waves of one shape or several.

    Args:
        names: K keys of ``SHAPES``.
        split: a key of ``SIZES``.
        seed: another one makes other items.

    Attributes:
        periods: (K, N), in samples.
        phases: (K, N), in samples.
        amplitudes: (K, N).

    Raises:
        UsageError: there is no such shape, or no name.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, names: Sequence[str] = tuple(SHAPES), split: str = "train", seed: int = 0) -> None:
        unknown = [name for name in names if name not in SHAPES]
        if unknown or not names:
            raise UsageError(
                f"there is no toy wave called '{unknown[0] if unknown else ''}'",
                f"one of: {', '.join(SHAPES)}",
            )
        self.names, count = tuple(names), SIZES[split]
        number, shapes = list(SIZES).index(split), list(SHAPES)
        parameters = [
            _parameters(np.random.default_rng([seed, number, shapes.index(n)]), count) for n in names
        ]
        self.periods, self.phases, self.amplitudes = (
            np.stack(rows) for rows in zip(*parameters, strict=True)
        )

    def __len__(self) -> int:
        """The number of items, N."""
        return len(self.periods[0])

    def item(self, number: int, length: int = LENGTH) -> NDArray[np.float32]:
        """The beginning of an item: the K waves (K, length), whose mean is its mixture."""
        return np.stack([self._wave(k, number, 0, length) for k in range(len(self.names))])

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> NDArray[np.float32]:
        """Unrelated chunks (B, K, T), in [-1, 1]: every wave of every item is from a random offset.

        Raises:
            UsageError: they are longer than an item.
        """
        if length > LENGTH:
            raise UsageError(f"chunks of {length} samples are longer than a toy wave", "ask for shorter ones")
        chunks = np.empty((batch, len(self.names), length), np.float32)
        for rows in chunks:
            for k, row in enumerate(rows):
                number, start = int(rng.integers(len(self))), int(rng.integers(LENGTH - length + 1))
                row[:] = self._wave(k, number, start, length)
        return chunks

    def _wave(self, k: int, number: int, start: int, length: int) -> NDArray[np.float32]:
        period, phase = self.periods[k, number], self.phases[k, number]
        over = (np.arange(start, start + length) + phase) % period / period
        wave = self.amplitudes[k, number] * SHAPES[self.names[k]](over)
        return np.asarray(wave, dtype=np.float32)


@dataclass(frozen=True)
class ToyPairs:
    """``count`` test items of toy waves, or all: one wave of every shape, ``length`` samples each."""

    count: int = 100
    length: int = SEPARATED

    def pairs(self, count: int) -> ToyPairs:
        """Return the same with another number of items."""
        return ToyPairs(count, self.length)

    def ids(self, names: Sequence[str]) -> list[str]:
        """Return the items' names."""
        return [f"toy-{number:04d}" for number in range(min(self.count, SIZES["test"]))]

    def items(self, names: Sequence[str], seed: int) -> Iterator[Pair]:
        """Yield the first test items; number n depends on shapes, seed and n only."""
        waves = ToyWaves(names, "test", seed)
        for number, name in enumerate(self.ids(names)):
            yield Pair(name, waves.item(number, self.length), SAMPLE_RATE)

    def files(self, names: Sequence[str]) -> tuple[Path, ...]:
        """Return no files: the waves are computed."""
        return ()

    def describe(self, names: Sequence[str], seed: int) -> str:
        """Return which items these are."""
        last = len(self.ids(names)) - 1
        return f"toy waves, test items 0 … {last} of seed {seed}, their first {self.length} samples"

    def notes(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return no notes: nothing is passed over."""
        return ()


def _parameters(rng: np.random.Generator, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Periods, phases and amplitudes of so many items, each (count,)."""
    hertz = 440.0 * 2 ** ((rng.choice(KEYS, count) - 49) / 12)
    periods = (SAMPLE_RATE // hertz).astype(np.int64)
    return periods, rng.integers(0, periods), rng.uniform(QUIETEST, PEAK, count)
