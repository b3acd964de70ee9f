"""Random chunks of clean recordings at random gains, for training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sepcli.datasets.stems import StemBank


@dataclass(frozen=True)
class Gains:
    """Random gains of training chunks, so that a prior covers a range of loudness.

    Attributes:
        low: smallest gain, dB.
        high: largest gain, dB.
        silent: share of chunks that are silence.
        min_rms: chunks quieter than this are sampled again, except for the share ``quiet``.
        quiet: share of batches that are sampled without regard to their loudness.
    """

    low: float = -9.0
    high: float = 1.0
    silent: float = 0.03
    min_rms: float = 0.02
    quiet: float = 0.2


def draw_chunks(
    bank: StemBank,
    rng: np.random.Generator,
    batch: int,
    length: int,
    gains: Gains | None,
    related: bool = False,
) -> NDArray[np.float32]:
    """Draw chunks (B, K, T) of all sources at random gains: unrelated ones, or those of a song at one time.

    Without ``gains``, unrelated chunks keep the gain of the recordings, and none is quiet.

    Raises:
        InputError: a source has no recording of ``length`` samples.
    """
    if gains is None:
        return bank.sample(rng, batch, length, Gains().min_rms)
    if related:
        chunks = bank.together(rng, batch, length)
    else:
        chunks = bank.sample(rng, batch, length, 0.0 if rng.random() < gains.quiet else gains.min_rms)
    factors = 10 ** (rng.uniform(gains.low, gains.high, chunks.shape[:2]) / 20)
    factors *= rng.random(chunks.shape[:2]) >= gains.silent
    return (chunks * factors[..., None]).astype(np.float32)
