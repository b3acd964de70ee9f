"""Random chunks of waveforms for training flows and encoders: toy waves, recordings, and mixtures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sepcli.datasets.chunks import Gains, draw_chunks
from sepcli.datasets.detect import Kind, kind_of
from sepcli.datasets.stems import StemBank
from sepcli.datasets.waves import LENGTH, ToyWaves
from sepcli.errors import UsageError
from sepcli.priors.audio.recordings import GAINS, open_banks

FRAME = 256
"""Samples of a unit of ``TrainConfig.tokens``."""
MIXTURE = "mixture"
"""The name of the one source of a folder of mixtures."""

SampleChunks = Callable[[np.random.Generator, int], Tensor]
"""(rng, B) → random chunks (B, T)."""


def waves_of(
    data: Path, source: str, rate: int, length: int, cache: Path | None = None
) -> tuple[SampleChunks, SampleChunks]:
    """Return functions that sample training chunks, and held-out ones.

    Args:
        data: the name of toy waves, a folder of recordings, Slakh2100's layout, or MUSDB18.
        source: a shape, the name of a folder's source, a class of Slakh, or a stem of MUSDB18.
        rate: Hz; ignored for toy waves.
        length: samples of a chunk.
        cache: a folder for decoded recordings.

    Raises:
        UsageError: there is no such shape, or chunks are longer than toy waves.
        InputError: the data cannot be read, or are too little.
    """
    if kind_of(data) is Kind.TOY:
        _check_length(length)
        toys = [ToyWaves((source,), split) for split in ("train", "test")]
        return _of_toys(toys[0], length), _of_toys(toys[1], length)
    gains = Gains(low=GAINS.low, high=GAINS.high, silent=0.0)
    train, held_out = open_banks(data, source, rate, length, cache)
    return _of_bank(train, length, gains), _of_bank(held_out, length, gains)


def mixtures_of(
    data: Path, sources: Sequence[str], rate: int, length: int, cache: Path | None = None
) -> tuple[SampleChunks, SampleChunks]:
    """Return functions that sample chunks of mixtures for training, and held-out ones.

    Args:
        data: the name of toy waves, whose mixtures are means, a folder of recorded mixtures, or MUSDB18.
        sources: shapes of toy waves; the sources of recordings are unknown.
        rate: Hz; ignored for toy waves.
        length: samples of a chunk.
        cache: a folder for decoded recordings.

    Raises:
        UsageError: there is no such shape, or chunks are longer than toy waves.
        InputError: the data cannot be read, or are too little.
    """
    if kind_of(data) is Kind.TOY:
        _check_length(length)
        toys = [ToyWaves(sources, split) for split in ("train", "test")]
        return _means_of_toys(toys[0], length), _means_of_toys(toys[1], length)
    train, held_out = open_banks(data, MIXTURE, rate, length, cache)
    return _of_bank(train, length, None), _of_bank(held_out, length, None)


def _check_length(length: int) -> None:
    if length > LENGTH:
        raise UsageError(
            f"chunks of {length} samples are longer than a toy wave",
            f"use {LENGTH // FRAME} tokens or less",
            argument="tokens",
        )


def _means_of_toys(waves: ToyWaves, length: int) -> SampleChunks:
    return lambda rng, count: torch.from_numpy(waves.sample(rng, count, length).mean(1))


def _of_toys(waves: ToyWaves, length: int) -> SampleChunks:
    return lambda rng, count: torch.from_numpy(waves.sample(rng, count, length)[:, 0])


def _of_bank(bank: StemBank, length: int, gains: Gains | None) -> SampleChunks:
    """Chunks of either polarity; without ``gains`` at that of the bank."""

    def sample(rng: np.random.Generator, count: int) -> Tensor:
        chunks = draw_chunks(bank, rng, count, length, gains)[:, 0]
        return torch.from_numpy(chunks * rng.choice(np.array([-1.0, 1.0], np.float32), (count, 1)))

    return sample
