"""A palette as a codec: one token per pixel, the nearest of V colors.

It loses what the palette lacks and nothing else. Colors are in [-1, 1] here, images in [0, 1].

Source: Chen et al. 2020, "Generative Pretraining from Pixels" (ImageGPT), whose palette has 512 colors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from sepcli.priors.lass.codebook import Codebook


@dataclass(frozen=True)
class PaletteConfig:
    """Sizes of the codec; they are stored beside its colors.

    Attributes:
        size: height and width of the images.
        colors: V.
        channels: C.
    """

    size: tuple[int, ...]
    colors: int = 512
    channels: int = 3

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"images of {self.size}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        height, width = self.size
        return self.channels, height, width

    @property
    def tokens(self) -> int:
        """L, pixels per image."""
        return math.prod(self.size)

    @property
    def code_dim(self) -> int:
        """Dimensions of a code."""
        return self.channels


class Palette(nn.Module):
    """The codec; fulfils ``sepcli.protocols.Codec`` for (B, C, H, W) in [0, 1]."""

    def __init__(self, config: PaletteConfig) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = config.colors
        self.quantizer = Codebook(config.colors, config.channels)

    def features(self, signal: Tensor) -> Tensor:
        """Images (B, C, H, W) to colors (B, L, C) in [-1, 1]."""
        return 2 * signal.flatten(2).transpose(1, 2) - 1

    def latents(self, signal: Tensor) -> Tensor:
        """Images (B, C, H, W) to colors (B, L, C) in [-1, 1]."""
        return self.features(signal)

    def project(self, features: Tensor) -> Tensor:
        """Return the colors (B, L, C): they are features and latents."""
        return features

    def nearest(self, latents: Tensor) -> Tensor:
        """Colors (B, L, C) to tokens (B, L), int64."""
        return self.quantizer.nearest(latents)

    def lookup(self, tokens: Tensor) -> Tensor:
        """Tokens (...) to their colors (..., C)."""
        return self.quantizer.lookup(tokens)

    def synthesise(self, codes: Tensor) -> Tensor:
        """Colors (B, L, C) to images (B, C, H, W) in [0, 1], float32."""
        planes = codes.float().transpose(1, 2).reshape(-1, *self.config.shape)
        return (0.5 * planes + 0.5).clamp(0.0, 1.0)

    def encode(self, signal: Tensor) -> Tensor:
        """Images (B, C, H, W) to tokens (B, L), int64, row by row."""
        return self.nearest(self.latents(signal))

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L) to images (B, C, H, W) in [0, 1], float32."""
        return self.synthesise(self.lookup(tokens))
