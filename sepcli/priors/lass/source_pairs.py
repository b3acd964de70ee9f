"""Random pairs of clean sources that a likelihood table is counted over: chunks of sound, or images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sepcli.catalog.card import Card
from sepcli.datasets.chunks import Gains, draw_chunks
from sepcli.datasets.image_folder import LabelledImages
from sepcli.datasets.image_splits import open_like, to_float_images
from sepcli.datasets.song_banks import open_songs
from sepcli.datasets.stems import StemBank
from sepcli.priors.lass.load import LassCodec
from sepcli.priors.lass.vqvae2d import Vqvae2d
from sepcli.protocols import ProgressCallback

AT_ONCE: Mapping[str, int] = {"audio": 16, "image": 256}
"""Medium → pairs that are counted at once."""


class SourcePairs(Protocol):
    """Draws as many pairs at a time as have ``tokens`` tokens per source."""

    @property
    def tokens(self) -> int:
        """Tokens of one source of all pairs of a draw."""
        ...

    def __call__(self, rng: np.random.Generator) -> Tensor:
        """Pairs (B, 2, C, *D), on the CPU."""
        ...


@dataclass(frozen=True)
class StemPairs:
    """Unrelated chunks of two instruments.

    Attributes:
        bank: recordings.
        count: pairs per draw.
        chunk: tokens per chunk.
        hop: samples per token.
        levels: how the level of chunks varies; None: they are as they are, none quiet.
    """

    bank: StemBank
    count: int
    chunk: int
    hop: int
    levels: Gains | None

    @property
    def tokens(self) -> int:
        """Tokens of one source of all pairs of a draw."""
        return self.count * self.chunk

    def __call__(self, rng: np.random.Generator) -> Tensor:
        """Pairs (B, 2, 1, T)."""
        length = self.chunk * self.hop
        return torch.from_numpy(draw_chunks(self.bank, rng, self.count, length, self.levels))[:, :, None]


@dataclass(frozen=True)
class ImagePairs:
    """Any two images.

    Attributes:
        images: to choose from.
        count: pairs per draw.
        patches: tokens per image.
        flip: whether half of the images are mirrored, left to right.
    """

    image_set: LabelledImages
    count: int
    patches: int
    flip: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of one source of all pairs of a draw."""
        return self.count * self.patches

    def __call__(self, rng: np.random.Generator) -> Tensor:
        """Pairs (B, 2, C, H, W) in [0, 1]."""
        chosen = rng.integers(0, len(self.image_set.images), 2 * self.count)
        images = to_float_images(self.image_set.images[chosen])
        if self.flip:
            images = mirror_half(images, rng)
        return images.view(self.count, 2, *images.shape[1:])


def mirror_half(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Images (N, C, H, W), each mirrored or not by the toss of a coin."""
    mirrored = torch.from_numpy(rng.random(len(images)) < 0.5)[:, None, None, None]
    return torch.where(mirrored, images.flip(-1), images)


def open_pairs(
    data: Path,
    split: str,
    card: Card,
    codec: LassCodec,
    count: int | None = None,
    chunk: int = 512,
    cache: Path | None = None,
    on_progress: ProgressCallback | None = None,
) -> SourcePairs:
    """Open the data that a prior's table is counted on.

    Args:
        data: songs of Slakh2100's layout or MUSDB18; for a codec of images, images.
        split: ``train`` or ``validation``.
        card: of the prior.
        codec: of the prior.
        count: pairs per draw; None: ``AT_ONCE``.
        chunk: tokens per chunk of audio.
        cache: folder for decoded recordings and images; None: decode again.
        on_progress: called while images are read.

    Raises:
        InputError: the data cannot be read.
        OutputError: the cache cannot be written.
    """
    if isinstance(codec, Vqvae2d):
        height, width = codec.config.size
        shape = (codec.config.channels, height, width)
        train, held_out = open_like(data, shape, (), cache, on_progress)
        chosen = train if split == "train" else held_out
        return ImagePairs(chosen, count or AT_ONCE["image"], codec.config.tokens)
    bank = open_songs(data, split, card.sources, card.sample_rate, cache)
    gains = Gains() if split == "train" else None
    return StemPairs(bank, count or AT_ONCE["audio"], chunk, codec.config.hop, gains)
