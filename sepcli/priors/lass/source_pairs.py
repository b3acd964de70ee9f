"""Random pairs of clean sources that a likelihood table is counted over: chunks of sound, or images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sepcli.datasets.chunks import Gains, draw_chunks
from sepcli.datasets.image_folder import LabelledImages
from sepcli.datasets.stems import StemBank
from sepcli.priors.images.train_task import to_float_images


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
