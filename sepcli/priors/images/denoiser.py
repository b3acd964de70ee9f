"""A denoiser of images, D(x, σ) ≈ E[x_0 | x = x_0 + σ ε], and hence the score of p_σ at every noise level.

    D(x, σ) = μ + c_skip (x - μ) + c_out F(c_in (x - μ), c_noise)         score(x, σ) = (D(x, σ) - x)/σ²
    c_skip = s²/(σ² + s²)   c_out = σ s/√(σ² + s²)   c_in = 1/√(σ² + s²)   c_noise = ln(σ)/4
    loss = E ‖F - (x_0 - μ - c_skip (x - μ))/c_out‖²,   ln σ ~ N(P_mean, P_std²)

with the mean μ and the standard deviation s of the data (s is σ_data). F is a U-Net whose first layer folds
squares of pixels into channels, so that there are no convolutions at full size. An optional second head
predicts the variance of D, C(x, σ) = c_out² exp(r); it is trained by the likelihood of the squared error.
Images are in [0, 1] and of any size; they are padded internally.

Source: Karras et al. 2022 (EDM), table 1 and equation 8; Ho et al. 2020 (the U-Net); the variance head
    is similar to that of Nichol & Dhariwal 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sepcli.priors.images.rows import column, drop_classes, rows_of
from sepcli.priors.noise import NoiseEmbedding, noise_rows, noise_seeds, without_variance


@dataclass(frozen=True)
class DenoiserConfig:
    """Architecture, units of the data and noise of the training; stored beside the weights.

    Attributes:
        channels: C, 1 for gray, 3 for color.
        size: height and width of the training images; other sizes can be denoised.
        fold: side of the squares of pixels that are folded into channels.
        widths: channels at every resolution, finest first; each resolution is half the one before.
        blocks: residual blocks at every resolution, in the encoder and the decoder; one more at the coarsest.
        attention: number of resolutions with attention, from the coarsest on.
        embedding: width of the embedding of σ and class.
        classes: names of the classes that the network can be conditioned on.
        class_dropout: fraction of training images whose class is dropped.
        variance: whether there is a head for the posterior variance.
        data_mean: μ of the training data.
        data_std: s of the training data.
        p_mean: mean of ln σ in training.
        p_std: standard deviation of ln σ in training.
    """

    channels: int = 1
    size: tuple[int, ...] = (28, 28)
    fold: int = 2
    widths: tuple[int, ...] = (96, 160)
    blocks: int = 2
    attention: int = 1
    embedding: int = 128
    classes: tuple[str, ...] = ()
    class_dropout: float = 0.5
    variance: bool = True
    data_mean: float = 0.5
    data_std: float = 0.5
    p_mean: float = -1.2
    p_std: float = 1.4


class Norm(nn.GroupNorm):
    """Group normalization in float32: in bfloat16 it is slow on CPUs and inexact."""

    def __init__(self, channels: int) -> None:
        super().__init__(next(g for g in (32, 16, 8, 4, 2, 1) if channels % g == 0), channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (N, C, H, W), of any type, which the result has, too."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float()).to(x.dtype)


class Residual(nn.Module):
    """Residual block of two convolutions; the second is scaled and shifted by the embedding."""

    def __init__(self, inner: int, outer: int, embedding: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = Norm(inner), nn.Conv2d(inner, outer, 3, padding=1)
        self.norm2, self.conv2 = Norm(outer), nn.Conv2d(outer, outer, 3, padding=1)
        self.tell = nn.Linear(embedding, 2 * outer)
        self.skip = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1)
        zero_init(self.conv2)
        zero_init(self.tell)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map (N, inner, H, W) and the embedding (N, E) to (N, outer, H, W)."""
        scale, shift = self.tell(embedding)[..., None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = F.silu(self.norm2(h) * (1 + scale) + shift)
        out: Tensor = self.skip(x) + self.conv2(h)
        return out


class Attention(nn.Module):
    """Self-attention over positions, with heads of 32 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 32)
        self.norm, self.qkv = Norm(channels), nn.Conv2d(channels, 3 * channels, 1)
        self.merge = nn.Conv2d(channels, channels, 1)
        zero_init(self.merge)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        rows = self.qkv(self.norm(x)).flatten(2)  # (N, 3C, HW)
        split = (t.reshape(len(x), self.heads, -1, t.shape[-1]).mT for t in rows.chunk(3, dim=1))
        q, k, v = (t.contiguous() for t in split)  # strided inputs are slow on CPUs
        y = F.scaled_dot_product_attention(q, k, v).mT.reshape(x.shape)
        out: Tensor = x + self.merge(y)
        return out


class Level(nn.Module):
    """The residual blocks of one resolution, each optionally followed by attention."""

    def __init__(self, inner: int, outer: int, blocks: int, attention: bool, embedding: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Residual(inner if n == 0 else outer, outer, embedding) for n in range(blocks)
        )
        self.looks = nn.ModuleList(Attention(outer) if attention else nn.Identity() for _ in range(blocks))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map (N, inner, H, W) and the embedding (N, E) to (N, outer, H, W)."""
        for block, attention in zip(self.blocks, self.looks, strict=True):
            x = attention(block(x, embedding))
        return x


class UNet(nn.Module):
    """F: maps folded images (N, C_in, H, W), H and W multiples of 2^(levels - 1), to (N, C_out, H, W)."""

    def __init__(self, config: DenoiserConfig, inner: int, outer: int) -> None:
        super().__init__()
        widths, levels, e = config.widths, len(config.widths), config.embedding
        attends = [level >= levels - config.attention for level in range(levels)]
        self.enter = nn.Conv2d(inner, widths[0], 3, padding=1)
        fine = range(levels - 1)
        self.down = nn.ModuleList(Level(widths[n], widths[n], config.blocks, attends[n], e) for n in fine)
        self.shrink = nn.ModuleList(nn.Conv2d(widths[n], widths[n + 1], 3, stride=2, padding=1) for n in fine)
        self.bottom = Level(widths[-1], widths[-1], config.blocks + 1, attends[-1], e)
        self.grow = nn.ModuleList(nn.Conv2d(widths[n + 1], widths[n], 3, padding=1) for n in reversed(fine))
        self.up = nn.ModuleList(
            Level(2 * widths[n], widths[n], config.blocks, attends[n], e) for n in reversed(fine)
        )
        self.norm, self.leave = Norm(widths[0]), nn.Conv2d(widths[0], outer, 3, padding=1)
        zero_init(self.leave)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Apply the network; the embedding is (N, E)."""
        x = self.enter(x)
        skips = []
        for level, shrink in zip(self.down, self.shrink, strict=True):
            x = level(x, embedding)
            skips.append(x)
            x = shrink(x)
        x = self.bottom(x, embedding)
        for grow, level in zip(self.grow, self.up, strict=True):
            x = grow(F.interpolate(x, scale_factor=2.0, mode="nearest"))
            x = level(torch.cat([x, skips.pop().to(x.dtype)], dim=1), embedding)
        out: Tensor = self.leave(F.silu(self.norm(x)))
        return out


class DenoiserPrior(nn.Module):
    """p(x) of images; fulfils ``sepcli.protocols.DenoisingPrior`` with the same prior for all sources."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        folded = config.channels * config.fold**2
        self.net = UNet(config, folded, folded * (2 if config.variance else 1))
        self.embed = NoiseEmbedding(config.embedding, 2.0)
        self.label = nn.Embedding(len(config.classes) + 1, config.embedding)  # the last row: unknown class
        nn.init.zeros_(self.label.weight)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return F and r, like x, float32, at noisy images; r is zero without a variance head.

        Args:
            x: (N, C, H, W), any size.
            sigma: (N,), positive.
            labels: (N,) int64, the class of each image, ``len(classes)``: unknown; None: all are unknown.
        """
        config = self.config
        fold, step = config.fold, config.fold * 2 ** (len(config.widths) - 1)
        height, width = x.shape[2:]
        x = (x - config.data_mean) * column((sigma**2 + config.data_std**2).rsqrt())
        x = F.pad(x, (0, -width % step, 0, -height % step), mode="replicate")
        embedding = self.embed(sigma)
        if labels is None:
            labels = torch.full(sigma.shape, len(config.classes), device=x.device)
        out = self.net(F.pixel_unshuffle(x, fold), F.silu(embedding + self.label(labels))).float()
        out = F.pixel_shuffle(out, fold)[..., :height, :width]
        if not config.variance:
            return out, torch.zeros_like(out)
        f, r = out.chunk(2, dim=1)
        return f, r.clamp(-12.0, 4.0)

    def denoise(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return D and C at noisy images (N, C, H, W) for σ (N,); see ``forward``."""
        f, r = self(x, sigma, labels)
        s, mu = self.config.data_std, self.config.data_mean
        total = column(sigma**2 + s**2)
        c_out = column(sigma) * s / total.sqrt()
        return mu + (s**2 / total) * (x - mu) + c_out * f, c_out**2 * r.exp()

    @property
    def has_variance(self) -> bool:
        """Whether ``moments`` are available."""
        return self.config.variance

    def score(self, x: Tensor, sigma: Tensor, label: int | None = None) -> Tensor:
        """Return ∇ log p_σ at x (B, K, C, H, W) for σ (), of class ``label``; None: any class."""
        return (self._moments(x, sigma, label)[0] - x) / sigma**2

    def moments(self, x: Tensor, sigma: Tensor, label: int | None = None) -> tuple[Tensor, Tensor]:
        """Return mean D and variance C of clean images given noisy x (B, K, C, H, W) at σ (), each like x."""
        if not self.config.variance:
            without_variance(self, x, sigma)
        return self._moments(x, sigma, label)

    def loss(
        self, images: Tensor, rng: np.random.Generator, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of denoising score matching on clean images (N, C, H, W) in [0, 1].

        Classes are (N,) int64. Metrics are ``mse``, the first term, and ``nll``, that of the variance head.
        """
        return self.batch_loss(*self.prepare(images, rng, labels))

    def prepare(
        self, images: Tensor, rng: np.random.Generator, labels: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor, NDArray[np.int64]]:
        """Sample the random numbers of the loss; return the arguments of ``batch_loss``, each by image."""
        config = self.config
        sigmas = np.exp(config.p_mean + config.p_std * rng.standard_normal(len(images)))
        labels = drop_classes(labels, len(config.classes), config.class_dropout, rng)
        return images, labels, torch.from_numpy(sigmas).float(), noise_seeds(len(images), rng)

    def batch_loss(
        self, images: Tensor, labels: Tensor | None, sigma: Tensor, seeds: NDArray[np.int64]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the same for classes after dropout (N,), given σ (N,) and seeds (N,) of the noise."""
        config, s = self.config, self.config.data_std
        sigma = sigma.to(images.device)
        noise = noise_rows(images, seeds) * column(sigma)
        total = column(sigma**2 + s**2)
        clean = images - config.data_mean
        target = (clean - (s**2 / total) * (clean + noise)) * total.sqrt() / (column(sigma) * s)
        f, r = self(images + noise, sigma, labels)
        error = (f - target).square()
        mse = error.mean()
        if not config.variance:
            return mse, {"mse": float(mse.detach())}
        nll = 0.5 * (error.detach() * (-r).exp() + r).mean()
        return mse + 0.1 * nll, {"mse": float(mse.detach()), "nll": float(nll.detach())}

    def _moments(self, x: Tensor, sigma: Tensor, label: int | None) -> tuple[Tensor, Tensor]:
        rows, labels = rows_of(x, self.config.channels, label)
        sigmas = sigma.to(rows).expand(len(rows))
        mean, variance = self.denoise(rows.float(), sigmas.float(), labels)
        return mean.to(x.dtype).view_as(x), variance.to(x.dtype).view_as(x)


def zero_init(layer: nn.Conv2d | nn.Linear) -> None:
    """Initialize a layer to zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
