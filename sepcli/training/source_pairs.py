"""Random pairs of clean sources that a likelihood table is counted over: chunks of sound, or pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sepcli.datasets.picture_folder import Pictures
from sepcli.datasets.stems import StemBank
from sepcli.training.denoiser import as_pictures
from sepcli.training.lass import Levels, draw_sources


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
    levels: Levels | None

    @property
    def tokens(self) -> int:
        """Tokens of one source of all pairs of a draw."""
        return self.count * self.chunk

    def __call__(self, rng: np.random.Generator) -> Tensor:
        """Pairs (B, 2, 1, T)."""
        length = self.chunk * self.hop
        return torch.from_numpy(draw_sources(self.bank, rng, self.count, length, self.levels))[:, :, None]


@dataclass(frozen=True)
class PicturePairs:
    """Any two pictures.

    Attributes:
        pictures: to choose from.
        count: pairs per draw.
        patches: tokens per picture.
        flip: whether half of the pictures are mirrored, left to right.
    """

    pictures: Pictures
    count: int
    patches: int
    flip: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of one source of all pairs of a draw."""
        return self.count * self.patches

    def __call__(self, rng: np.random.Generator) -> Tensor:
        """Pairs (B, 2, C, H, W) in [0, 1]."""
        chosen = rng.integers(0, len(self.pictures.images), 2 * self.count)
        images = as_pictures(self.pictures.images[chosen])
        if self.flip:
            images = mirror_half(images, rng)
        return images.view(self.count, 2, *images.shape[1:])


def mirror_half(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures (N, C, H, W), each mirrored or not by the toss of a coin."""
    mirrored = torch.from_numpy(rng.random(len(images)) < 0.5)[:, None, None, None]
    return torch.where(mirrored, images.flip(-1), images)
