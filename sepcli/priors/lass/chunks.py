"""Clean sources, chunks of audio or images, that the parts of LASS are trained and tables are counted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.datasets.chunks import Gains, draw_chunks
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.datasets.image_splits import to_float_images
from sepcli.datasets.stems import StemBank

SEQUENCES = 32
"""Held-out chunks of every source of audio by which a transformer is validated."""


class Chunks(Protocol):
    """Random clean sources, of audio or images."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the K sources of an item; empty strings where all are of one kind."""
        ...

    def sample(self, rng: np.random.Generator, count: int) -> Tensor:
        """Sample items of K unrelated sources: (count, K, C, *D), float32 on the CPU."""
        ...

    def labelled(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Sample N ≥ count single sources (N, C, *D), and their indices in the transformer (N,), int64."""
        ...

    def validation(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Return fixed single sources like those of ``labelled``, in parts by name."""
        ...


@dataclass(frozen=True)
class AudioChunks:
    """Chunks of the recordings of K sources.

    Attributes:
        bank: recordings.
        length: T, samples of a chunk.
        gains: None: those of the recordings, and no chunk is quiet.
    """

    bank: StemBank
    length: int
    gains: Gains | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sources."""
        return self.bank.names

    def sample(self, rng: np.random.Generator, count: int) -> Tensor:
        """Sample unrelated chunks (count, K, 1, T)."""
        return torch.from_numpy(draw_chunks(self.bank, rng, count, self.length, self.gains))[:, :, None]

    def labelled(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Sample equal numbers of chunks of every source: (N, 1, T) and (N,), N a multiple of K."""
        chunks = self.sample(rng, -(-count // len(self.names)))
        return chunks.flatten(0, 1), torch.arange(len(self.names)).repeat(len(chunks))

    def validation(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Return ``SEQUENCES`` chunks of every source, by its name."""
        chunks = self.sample(np.random.default_rng(1), SEQUENCES)
        return {
            name: (chunks[:, k], torch.full((len(chunks),), k, dtype=torch.int64))
            for k, name in enumerate(self.names)
        }


@dataclass(frozen=True)
class ImageChunks:
    """Images, any two of which are mixed.

    Attributes:
        image_set: images with labels.
        flip: whether half of the images are mirrored, left to right.
        class_dropout: share of images whose class is withheld; 1: the transformer has no classes.
    """

    image_set: LabelledImages
    flip: bool = False
    class_dropout: float = 1.0

    names: ClassVar[tuple[str, ...]] = ("", "")

    def sample(self, rng: np.random.Generator, count: int) -> Tensor:
        """Sample pairs (count, 2, C, H, W) in [0, 1]."""
        images = self._images(rng, rng.integers(0, len(self.image_set.images), 2 * count))
        return images.view(count, 2, *images.shape[1:])

    def labelled(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Sample images (count, C, H, W), and for each 0 or 1 + its class."""
        chosen = rng.integers(0, len(self.image_set.images), count)
        images = self._images(rng, chosen)
        kept = rng.random(count) >= self.class_dropout
        return images, torch.from_numpy(np.where(kept, 1 + self.image_set.labels[chosen], 0))

    def validation(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Return all images without their classes and, by the name ``class``, with them."""
        images = to_float_images(self.image_set.images)
        parts = {"": (images, torch.zeros(len(images), dtype=torch.int64))}
        if self.class_dropout < 1.0:
            parts["class"] = images, torch.from_numpy(1 + self.image_set.labels)
        return parts

    def _images(self, rng: np.random.Generator, chosen: NDArray[np.int64]) -> Tensor:
        images = to_float_images(self.image_set.images[chosen])
        if not self.flip:
            return images
        mirrored = torch.from_numpy(rng.random(len(images)) < 0.5)[:, None, None, None]
        return torch.where(mirrored, images.flip(-1), images)


@dataclass(frozen=True)
class Data:
    """Clean sources to train on and to validate with.

    Attributes:
        train: sources to train on.
        held_out: sources to validate with.
        weights: α_k of their mixtures.
        mixtures: number of held-out mixtures by which a codec is validated.
        facts: entries of a card.
    """

    train: Chunks
    held_out: Chunks
    weights: tuple[float, ...]
    mixtures: int
    facts: Mapping[str, Any]
