"""Random chunks of waveforms for training flows and encoders: toy waves, recordings, and mixtures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sepcli.datasets.chunks import Gains, draw_chunks
from sepcli.datasets.detect import Kind, kind_of
from sepcli.datasets.stems import StemBank
from sepcli.datasets.waves import LENGTH, ToyWaves
from sepcli.errors import UsageError
from sepcli.priors.audio.recordings import GAINS, open_banks
from sepcli.training.config import TrainConfig

FRAME = 256
"""Samples of a unit of ``TrainConfig.tokens``."""
MIXTURE = "mixture"
"""The name of the one source of a folder of mixtures."""

SampleChunks = Callable[[np.random.Generator, int], Tensor]
"""(rng, B) → random chunks (B, T)."""


def waves_of(config: TrainConfig, rate: int, multiple: int) -> tuple[SampleChunks, SampleChunks]:
    """Return functions that sample training chunks of one source, and held-out ones.

    Args:
        config: the data: toy waves, a folder of recordings, Slakh2100's layout, or MUSDB18; its source is a
            shape, the name of a folder's source, a class of Slakh, or a stem of MUSDB18.
        rate: Hz; ignored for toy waves.
        multiple: divides the length of chunks.

    Raises:
        UsageError: there is no such shape, or chunks are longer than toy waves.
        InputError: the data cannot be read, or are too little.
    """
    gains = Gains(low=GAINS.low, high=GAINS.high, silent=0.0)
    return _chunks(config, config.sources[0], rate, multiple, gains)


def mixtures_of(config: TrainConfig, rate: int, multiple: int) -> tuple[SampleChunks, SampleChunks]:
    """Return functions that sample chunks of mixtures for training, and held-out ones; see ``waves_of``.

    Mixtures of toy waves are means of the sources; those of a folder or of MUSDB18 are recorded.
    """
    return _chunks(config, MIXTURE, rate, multiple, None)


def _chunks(
    config: TrainConfig, source: str, rate: int, multiple: int, gains: Gains | None
) -> tuple[SampleChunks, SampleChunks]:
    length = config.tokens * FRAME // multiple * multiple
    if kind_of(config.data) is not Kind.TOY:
        train, held_out = open_banks(config.data, source, rate, length, config.cache)
        return _of_bank(train, length, gains), _of_bank(held_out, length, gains)
    if length > LENGTH:
        raise UsageError(
            f"chunks of {length} samples are longer than a toy wave",
            f"use {LENGTH // FRAME} tokens or less",
            argument="tokens",
        )
    toys = [ToyWaves(config.sources, split) for split in ("train", "test")]
    return _of_toys(toys[0], length), _of_toys(toys[1], length)


def _of_toys(waves: ToyWaves, length: int) -> SampleChunks:
    """Return chunks of the mean of the sources: of one source, of itself."""
    return lambda rng, count: torch.from_numpy(waves.sample(rng, count, length).mean(1))


def _of_bank(bank: StemBank, length: int, gains: Gains | None) -> SampleChunks:
    """Return chunks of either polarity; without ``gains`` at that of the bank."""

    def sample(rng: np.random.Generator, count: int) -> Tensor:
        chunks = draw_chunks(bank, rng, count, length, gains)[:, 0]
        return torch.from_numpy(chunks * rng.choice(np.array([-1.0, 1.0], np.float32), (count, 1)))

    return sample
