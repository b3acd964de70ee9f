"""An autoregressive transformer flow of images: the network of a ``FlowPrior``.

Source: Zhai et al. 2024; see ``sepcli.priors.tarflow``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sepcli.errors import InputError
from sepcli.priors.images.flow import FlowPrior, context_of, noise_at
from sepcli.priors.noise import NoiseEmbedding
from sepcli.priors.tarflow import TarFlow, with_level

MAX_DEPTH = 256
"""Greatest number of layers of all blocks."""


@dataclass(frozen=True)
class TarFlowConfig:
    """Architecture and noise levels; stored beside the weights.

    Attributes:
        channels: C, 1 for gray, 3 for color.
        size: height and width of images, multiples of ``patch``.
        patch: side of a patch, in pixels.
        width: of the transformers.
        depths: number of layers of each block; the first block is the images'.
        heads: number of attention heads; twice as many divide the width.
        embedding: width of the embedding of σ and class.
        sigma_max: greatest σ of training.
        sigma_min: least σ > 0 of training.
        clean: fraction of training images with σ = 0.
        classes: names of the classes that the flow can be conditioned on.
        class_dropout: fraction of training images whose class is dropped.
        denoising: weight of the error of denoising in the loss.

    Raises:
        ValueError: a size is out of range.
    """

    sigmas: ClassVar[tuple[float, ...]] = ()

    channels: int = 1
    size: tuple[int, ...] = (28, 28)
    patch: int = 4
    width: int = 128
    depths: tuple[int, ...] = (4, 2)
    heads: int = 4
    embedding: int = 64
    sigma_max: float = 1.0
    sigma_min: float = 0.01
    clean: float = 0.1
    classes: tuple[str, ...] = ()
    class_dropout: float = 0.5
    denoising: float = 0.0

    def __post_init__(self) -> None:
        sizes = min(self.patch, self.width, self.heads, self.embedding // 2, *self.size) >= 1
        depths = 1 <= min(self.depths, default=0) <= sum(self.depths) <= MAX_DEPTH
        if not (sizes and depths) or self.width % (2 * self.heads):
            raise ValueError("a size of the flow's config is out of range")
        if any(side % self.patch for side in self.size):
            raise ValueError(f"sides of {self.size} are no multiples of {self.patch}")

    @property
    def divisor(self) -> int:
        """The sides of images are multiples of it."""
        return self.patch


class ImageTarFlow(nn.Module):
    """One flow of noisy images; fulfils ``FlowNetwork``."""

    def __init__(self, config: TarFlowConfig) -> None:
        super().__init__()
        self.size = tuple(config.size)
        self.embed = NoiseEmbedding(config.embedding, 1.0)
        self.label = nn.Embedding(len(config.classes) + 1, config.embedding)  # the last row: unknown class
        nn.init.zeros_(self.label.weight)
        self.layers = TarFlow(
            config.channels,
            (config.patch, config.patch),
            width=config.width,
            depths=config.depths,
            heads=config.heads,
            embedding=config.embedding,
            positions=math.prod(self.size) // config.patch**2,
            mixed=True,
        )

    def forward(self, y: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """See ``FlowNetwork``; InputError if the images are of another size than the training's."""
        if tuple(y.shape[2:]) != self.size:
            raise InputError(
                f"images of {y.shape[2]} x {y.shape[3]} do not fit a flow of {self.size[0]} x {self.size[1]}",
                "crop or resize them",
            )
        return self.layers.log_prob(y, self._context(sigma, labels))

    def initialize(self, y: Tensor, sigma: Tensor) -> None:
        """Set the units of the data; see ``FlowNetwork``."""
        self.layers.initialize(y, self._context(sigma, None))

    def sample(
        self, like: Tensor, sigma: Tensor, labels: Tensor | None, rng: torch.Generator, temperature: float
    ) -> Tensor:
        """See ``FlowNetwork``."""
        return self.layers.sample(like, self._context(sigma, labels), rng, temperature)

    def _context(self, sigma: Tensor, labels: Tensor | None) -> Tensor:
        return with_level(noise_at(sigma), context_of(self, self.label, sigma, labels))


def tarflow_prior(config: TarFlowConfig) -> FlowPrior:
    """Return the prior of an autoregressive transformer flow."""
    return FlowPrior(config, lambda: ImageTarFlow(config))
