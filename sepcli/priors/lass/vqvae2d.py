"""A VQ-VAE for small images: one token per square patch, in raster order.

Strided convolutions halve the image as often as there are ``widths``, residual layers at the resolution of
the tokens see the neighborhood, and the quantizer keeps one of V codes; the decoder mirrors the encoder and
ends in a logistic function. The training loss, sums over the batch, is

    Σ(x - x̂)² / Σ(x - mean)²  +  commitment · ‖h - c_z‖²

Source: van den Oord et al. 2017, "Neural Discrete Representation Learning", section 4.1.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.priors.lass.quantizer import VectorQuantizer, perplexity
from sepcli.training.distributed import ALONE, World


@dataclass(frozen=True)
class Vqvae2dConfig:
    """Sizes of the codec; they are stored beside its weights.

    Attributes:
        channels: C.
        size: height and width of the images, both divisible by ``patch``.
        widths: channels after each halving of the image.
        layers: residual layers of the encoder, and of the decoder.
        vocabulary: V, the number of codes.
        code_dim: dimensions of a code.
        commitment: weight of the commitment loss.

    Raises:
        ValueError: the size is not a whole number of patches.
    """

    channels: int = 1
    size: tuple[int, ...] = (28, 28)
    widths: tuple[int, ...] = (64, 128)
    layers: int = 2
    vocabulary: int = 256
    code_dim: int = 16
    commitment: float = 0.25

    def __post_init__(self) -> None:
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
        return int(2 ** len(self.widths))

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens per image, in height and in width."""
        return self.size[0] // self.patch, self.size[1] // self.patch

    @property
    def tokens(self) -> int:
        """L, tokens per image."""
        return math.prod(self.grid)


class Residual(nn.Module):
    """x + W silu(conv(silu(x))): three by three taps to half the channels, then one back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(1, width // 2)
        self.conv = nn.Conv2d(width, hidden, 3, padding=1)
        self.back = nn.Conv2d(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to the same."""
        y: Tensor = self.back(F.silu(self.conv(F.silu(x))))
        return x + y


class Vqvae2d(nn.Module):
    """The codec of images; fulfils ``sepcli.protocols.Codec`` for (B, C, H, W) in [0, 1]."""

    def __init__(self, config: Vqvae2dConfig) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = config.vocabulary
        widths, deepest = (config.channels, *config.widths), config.widths[-1]
        steps = list(itertools.pairwise(widths))
        self.analysis = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in steps)
        self.encoder = nn.Sequential(*(Residual(deepest) for _ in range(config.layers)))
        self.to_code = nn.Conv2d(deepest, config.code_dim, 1)
        self.quantizer = VectorQuantizer(config.vocabulary, config.code_dim)
        self.from_code = nn.Conv2d(config.code_dim, deepest, 3, padding=1)
        self.decoder = nn.Sequential(*(Residual(deepest) for _ in range(config.layers)))
        self.synthesis = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 4, stride=2, padding=1) for a, b in reversed(steps)
        )

    @torch.no_grad()
    def initialize(self, images: Tensor) -> None:
        """Initialize biases by the data (N, C, H, W): latents around zero, decoded images of the mean color.

        Otherwise the first steps move all latents in one direction and the codebook collapses.
        """
        self.to_code.bias -= self.latents(images).mean((0, 1))  # type: ignore[operator]
        color = images.mean((0, 2, 3)).clamp(0.01, 0.99)
        self.synthesis[-1].bias.copy_(color.logit())  # type: ignore[operator]

    def features(self, signal: Tensor) -> Tensor:
        """Images (B, C, H, W) to features (B, L, F)."""
        return self._planes(signal).flatten(2).transpose(1, 2)

    def latents(self, signal: Tensor) -> Tensor:
        """Images (B, C, H, W) to latents (B, L, D) before quantising."""
        return self.project(self.features(signal))

    def project(self, features: Tensor) -> Tensor:
        """Features (B, L, F) to latents (B, L, D)."""
        planes = features.transpose(1, 2)
        h: Tensor = self.to_code(planes.reshape(*planes.shape[:2], *self.config.grid))
        return h.flatten(2).transpose(1, 2)

    def _planes(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to features (B, F, h, w)."""
        for number, halve in enumerate(self.analysis):
            x = halve(F.silu(x) if number else x)
        return F.silu(self.encoder(x))

    def nearest(self, latents: Tensor) -> Tensor:
        """Latents (B, L, D) to tokens (B, L), int64."""
        return self.quantizer.nearest(latents)

    def lookup(self, tokens: Tensor) -> Tensor:
        """Tokens (...) to their codes (..., D)."""
        return self.quantizer.lookup(tokens)

    def synthesise(self, codes: Tensor) -> Tensor:
        """Codes (B, L, D) to images (B, C, H, W) in [0, 1], float32."""
        planes = codes.to(self.from_code.weight.dtype).transpose(1, 2)
        x: Tensor = self.decoder(self.from_code(planes.reshape(*planes.shape[:2], *self.config.grid)))
        for double in self.synthesis:
            x = double(F.silu(x))
        return x.float().sigmoid()

    def encode(self, signal: Tensor) -> Tensor:
        """Images (B, C, H, W) to tokens (B, L), int64, row by row."""
        return self.quantizer.nearest(self.latents(signal.to(self.to_code.weight.dtype)))

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L) to images (B, C, H, W) in [0, 1], float32."""
        return self.synthesise(self.lookup(tokens))

    def quality(self, signal: Tensor, decoded: Tensor) -> tuple[str, float]:
        """Return ``psnr``, and its mean over images (B, C, H, W) in dB."""
        error = (decoded - signal).square().flatten(1).mean(-1).clamp_min(1e-9)
        return "psnr", float((-10 * torch.log10(error)).mean())

    def loss(
        self, images: Tensor, rng: torch.Generator, world: World = ALONE
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of images (B, C, H, W) and figures to log.

        The figures are ``psnr`` (dB over the batch), ``perplexity`` and ``commitment``. While training, the
        codebook follows. Sums over the batch are over all processes; the mean of their losses is the batch's.
        """
        codes, tokens, commitment = self.quantizer(self.latents(images), rng, world)
        error = (images - self.synthesise(codes)).square()
        variance = world.mean((images - world.mean(images.mean())).square().sum()).clamp_min(1e-6)
        figures = {
            "psnr": float(-10 * torch.log10(world.mean(error.detach().mean()).clamp_min(1e-9))),
            "commitment": float(commitment.detach()),
            "perplexity": perplexity(tokens, self.config.vocabulary, world),
        }
        return error.sum() / variance + self.config.commitment * commitment, figures
