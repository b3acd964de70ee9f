"""Training data of audio: recordings of one loudness, mixtures and toy waves, in random chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.catalog.card import Card, Engine
from sepcli.datasets.audio_folder import levelled, open_folder, split
from sepcli.datasets.chunks import Gains, draw_chunks
from sepcli.datasets.detect import Kind, kind_of
from sepcli.datasets.song_banks import has_split, holds_songs, open_songs
from sepcli.datasets.stems import StemBank
from sepcli.datasets.waves import LENGTH, ToyWaves
from sepcli.errors import UsageError
from sepcli.signal.mdct import mdct
from sepcli.training.config import TrainConfig

REFERENCE = 0.1
"""RMS, without pauses, to which every recording is brought: that of mixtures on their way to an engine."""
GAINS = Gains(low=-18.0, high=6.0)
"""On top of it: a source is at least 18 dB below the mixture it is separated from, and at most 6 dB above."""
FLOOR = 1e-4
"""Least standard deviation of a band, -80 dB of full scale."""
MEASURED = 512
"""Chunks on which the bands are measured."""

FRAME = 256
"""Samples of a unit of ``TrainConfig.tokens``."""
MIXTURE = "mixture"
"""The name of the one source of a folder of mixtures."""

SampleChunks = Callable[[np.random.Generator, int], Tensor]
"""(rng, B) → random chunks (B, T)."""


def source_names(config: TrainConfig) -> tuple[str, ...]:
    """Return the name of the source in recordings or songs: by default the name of the folder.

    Raises:
        UsageError: several names, or none for songs.
    """
    if len(config.sources) > 1:
        raise UsageError(
            f"a {config.family} is a prior of one source, not of {','.join(config.sources)}",
            "name one source",
            argument="sources",
        )
    return config.sources or (default_source(config.data),)


def default_source(data: Path) -> str:
    """Return the name of the source of a folder of recordings: the folder's.

    Raises:
        UsageError: the folder holds songs, which have many sources.
    """
    if holds_songs(data):
        raise UsageError(
            f"{data} holds many instruments", "name one of them, such as drums", argument="sources"
        )
    return data.resolve().name


def card_of(config: TrainConfig, engine: Engine, rate: int, stream: Mapping[str, Any], **fields: Any) -> Card:
    """Return the card of a prior of audio, without parts and files; toy waves keep their level."""
    toy = kind_of(config.data) is Kind.TOY
    return Card(
        name=config.out.resolve().name,
        medium="audio",
        engine=engine,
        sources=config.sources,
        sample_rate=rate,
        stream={**stream, "reference_rms": 0 if toy else REFERENCE},
        **{"weights": (1.0,), **fields},
    )


def open_banks(
    data: Path, source: str, rate: int, length: int, cache: Path | None = None
) -> tuple[StemBank, StemBank]:
    """Open training recordings and held-out ones, brought to one loudness.

    Args:
        data: a folder of recordings, Slakh2100's layout, or MUSDB18.
        source: the name of a folder's source, a class of Slakh, or a stem of MUSDB18.
        rate: Hz.
        length: samples of a chunk.
        cache: for decoded recordings.

    Raises:
        InputError: the data cannot be read, or are too little.
    """
    if not holds_songs(data):
        return split(levelled(open_folder(data, source, rate, cache), REFERENCE), length)
    if not has_split(data, "validation"):
        return split(_song_bank(data, "train", (source,), rate, cache), length)
    return open_stems(data, (source,), rate, cache)


def open_stems(
    data: Path, sources: tuple[str, ...], rate: int, cache: Path | None = None
) -> tuple[StemBank, StemBank]:
    """Open the stems of training songs and of validation songs, each stem brought to one loudness.

    Sources in another order share their decoded recordings.

    Raises:
        InputError: there are no songs of both splits, or they cannot be read.
    """
    return (
        _song_bank(data, "train", sources, rate, cache),
        _song_bank(data, "validation", sources, rate, cache),
    )


def _song_bank(data: Path, part: str, sources: tuple[str, ...], rate: int, cache: Path | None) -> StemBank:
    bank = open_songs(data, part, tuple(sorted(sources)), rate, cache)
    return levelled(bank.of(sources), REFERENCE)


def sample_coefficients(
    bank: StemBank, rng: np.random.Generator, count: int, frames: int, bins: int
) -> Tensor:
    """Return MDCT coefficients (count, bins, frames) of random chunks; see ``sample_waves``."""
    return coefficients(sample_waves(bank, rng, count, frames * bins), bins)


def sample_waves(bank: StemBank, rng: np.random.Generator, count: int, length: int) -> Tensor:
    """Sample chunks (count, length) at random positions, gains and polarities."""
    chunks = draw_chunks(bank, rng, count, length, GAINS)[:, 0]
    chunks *= rng.choice(np.array([-1.0, 1.0], np.float32), (count, 1))
    return torch.from_numpy(chunks)


def coefficients(waves: Tensor, bins: int) -> Tensor:
    """Return MDCT coefficients (B, bins, frames) of signals (B, T), as exact as their samples."""
    with torch.autocast(waves.device.type, enabled=False):
        return mdct(waves, bins)


def measure_bands(bank: StemBank, frames: int, bins: int) -> list[float]:
    """Return the standard deviation of every band of training chunks, at least ``FLOOR``."""
    rng, power = np.random.default_rng(0), torch.zeros(bins, dtype=torch.float64)
    part = 32
    for _ in range(MEASURED // part):
        x = sample_coefficients(bank, rng, part, frames, bins)
        power += x.double().square().mean(dim=(0, 2)) / (MEASURED // part)
    return [round(float(std), 7) for std in power.sqrt().clamp_min(FLOOR)]


def waves_of(config: TrainConfig, rate: int, multiple: int) -> tuple[SampleChunks, SampleChunks]:
    """Return functions that sample training chunks of one source, and held-out ones.

    Args:
        config: the data; the source of toy waves is a shape, for others see ``open_banks``.
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
