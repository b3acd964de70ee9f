"""The first stage of VQ-GAN: images to tokens and back, for weights that others have trained.

A convolutional encoder halves the image between its levels, a quantizer keeps the nearest of V codes, and the
decoder mirrors the encoder. Images are in [0, 1] here and in [-1, 1] in the networks. It is not trained here.

Source: Esser et al. 2021, "Taming Transformers for High-Resolution Image Synthesis"; names of tensors are
    those of github.com/CompVis/taming-transformers, so that its checkpoints fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.priors.lass.codebook import Codebook
from sepcli.priors.lass.vqgan_layers import Level, Middle, Resample, norm

MOST_LEVELS = 12
"""Largest number of levels."""
PIXELS = 1 << 18
"""Pixels, of one image or several, that the networks process at once."""


@dataclass(frozen=True)
class VqganConfig:
    """Sizes of the codec; they are stored beside its weights.

    Attributes:
        channels: C.
        size: height and width of the images, both divisible by ``patch``.
        width: channels of the first level.
        multiples: channels of every level over ``width``; the image is halved between two levels.
        residuals: residual units per level of the encoder; the decoder has one more.
        attention: levels with attention, of the encoder and the decoder.
        latent_channels: channels between encoder and quantizer.
        vocabulary: V, the number of codes.
        code_dim: dimensions of a code.

    Raises:
        ValueError: the size is not a whole number of patches, or no weights have these sizes.
    """

    channels: int = 3
    size: tuple[int, ...] = (256, 256)
    width: int = 128
    multiples: tuple[int, ...] = (1, 1, 2, 2, 4)
    residuals: int = 2
    attention: tuple[int, ...] = (4,)
    latent_channels: int = 256
    vocabulary: int = 16384
    code_dim: int = 256

    def __post_init__(self) -> None:
        levels = isinstance(self.multiples, tuple) and 1 <= len(self.multiples) <= MOST_LEVELS
        if not levels or not isinstance(self.attention, tuple) or not 0 <= self.residuals <= MOST_LEVELS:
            raise ValueError(f"levels of {self.multiples} with {self.residuals} residual units")
        if len(self.size) != 2 or min(self.size) < 1 or any(n % self.patch for n in self.size):
            raise ValueError(f"images of {self.size} are not whole patches of {self.patch}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        height, width = self.size
        return self.channels, height, width

    @property
    def patch(self) -> int:
        """Pixels per token, in height and in width."""
        return int(2 ** (len(self.multiples) - 1))

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens per image, in height and in width."""
        return self.size[0] // self.patch, self.size[1] // self.patch

    @property
    def tokens(self) -> int:
        """L, tokens per image."""
        return math.prod(self.grid)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of every level."""
        return tuple(self.width * multiple for multiple in self.multiples)


class Encoder(nn.Module):
    """Images in [-1, 1] to planes of latents."""

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        widths, deepest = config.widths, config.widths[-1]
        self.conv_in = nn.Conv2d(config.channels, config.width, 3, padding=1)
        self.down: list[Level] = nn.ModuleList()  # type: ignore[assignment]
        for n, (before, after) in enumerate(zip((config.width, *widths), widths, strict=False)):
            level = Level(before, after, config.residuals, n in config.attention)
            if n + 1 < len(widths):
                level.downsample = Resample(after, down=True)
            self.down.append(level)
        self.mid = Middle(deepest)
        self.norm_out = norm(deepest)
        self.conv_out = nn.Conv2d(deepest, config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, latent_channels, h, w)."""
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
            if hasattr(level, "downsample"):
                x = level.downsample(x)
        y: Tensor = self.conv_out(F.silu(self.norm_out(self.mid(x))))
        return y


class Decoder(nn.Module):
    """Planes of latents to images in [-1, 1]."""

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        widths, deepest = config.widths, config.widths[-1]
        self.conv_in = nn.Conv2d(config.latent_channels, deepest, 3, padding=1)
        self.mid = Middle(deepest)
        self.up: list[Level] = nn.ModuleList()  # type: ignore[assignment]
        for n, (after, before) in enumerate(zip(widths, (*widths[1:], deepest), strict=True)):
            level = Level(before, after, config.residuals + 1, n in config.attention)
            if n > 0:
                level.upsample = Resample(after, down=False)
            self.up.append(level)
        self.norm_out = norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], config.channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, latent_channels, h, w) to (B, C, H, W)."""
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            x = level(x)
            if hasattr(level, "upsample"):
                x = level.upsample(x)
        y: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return y


class Vqgan(nn.Module):
    """The codec; fulfils ``sepcli.protocols.Codec`` for (B, C, H, W) in [0, 1]."""

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = config.vocabulary
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantizer = Codebook(config.vocabulary, config.code_dim)
        self.quant_conv = nn.Conv2d(config.latent_channels, config.code_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.code_dim, config.latent_channels, 1)

    def features(self, signal: Tensor) -> Tensor:
        """Images (B, C, H, W) to the encoder's output (B, L, latent_channels)."""
        x = 2 * signal.to(self.quant_conv.weight.dtype) - 1
        return self._in_parts(self.encoder, x).flatten(2).transpose(1, 2)

    def latents(self, signal: Tensor) -> Tensor:
        """Images (B, C, H, W) to latents (B, L, D) before quantising."""
        return self.project(self.features(signal))

    def project(self, features: Tensor) -> Tensor:
        """Features (B, L, latent_channels) to latents (B, L, D)."""
        return F.linear(features, self.quant_conv.weight[..., 0, 0], self.quant_conv.bias)

    def nearest(self, latents: Tensor) -> Tensor:
        """Latents (B, L, D) to tokens (B, L), int64."""
        return self.quantizer.nearest(latents)

    def lookup(self, tokens: Tensor) -> Tensor:
        """Tokens (...) to their codes (..., D)."""
        return self.quantizer.lookup(tokens)

    def synthesise(self, codes: Tensor) -> Tensor:
        """Codes (B, L, D) to images (B, C, H, W) in [0, 1], float32."""
        planes = codes.to(self.quant_conv.weight.dtype).transpose(1, 2)
        planes = self.post_quant_conv(planes.reshape(*planes.shape[:2], *self.config.grid))
        return (0.5 * self._in_parts(self.decoder, planes).float() + 0.5).clamp(0.0, 1.0)

    def encode(self, signal: Tensor) -> Tensor:
        """Images (B, C, H, W) to tokens (B, L), int64, row by row."""
        return self.quantizer.nearest(self.latents(signal))

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L) to images (B, C, H, W) in [0, 1], float32."""
        return self.synthesise(self.lookup(tokens))

    def _in_parts(self, network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Apply a network to few images at a time, so that memory does not grow with the batch."""
        few = max(1, PIXELS // math.prod(self.config.size))
        return torch.cat([network(part) for part in torch.split(x, few)])
