"""Glow, a normalizing flow of images: log p(x) at every noise level, and hence the score that BASIS follows.

    y = x + (u - ½)/255 + σ ε,   u uniform on [0, 1), ε ~ N(0, I)         what is modelled
    loss = -log p_σ(y)/(D ln 2) + log₂ 255                                bits per dimension

Units: images x are in [0, 1], in steps of 1/255, and so are y, σ and all densities (nats, per unit of
intensity and dimension; D dimensions). Uniform noise one step wide makes p a density without moving x; at σ =
0 the loss is the bound on the bits per dimension of 8-bit images that Glow reports, and the total noise at
the level σ is s(σ) = √(σ² + 1/(12 · 255²)), never 0.

p_σ is represented in one of two ways. One flow is conditioned on σ: ln s is an input of its networks and its
``ActNorm``s, and it is trained on all σ at once. Or there are copies of a flow, each fine-tuned at one
noise level, as in the paper; between the levels the nearest in ln s is used, and its score is rescaled by s.

Source: Kingma & Dhariwal 2018 (Glow), the architecture, without its activation normalization inside the
    networks; Jayaram & Thickstun 2020 (BASIS), section 3.5, the copies; Perez et al. 2018 (FiLM), the
    conditioning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sepcli.errors import InputError
from sepcli.priors.flows import Chain, MultiScale, Split, score_of
from sepcli.priors.images.denoiser import zero_init
from sepcli.priors.images.rows import column, drop_classes, rows_of
from sepcli.priors.noise import (
    NoiseEmbedding,
    device_of,
    generator_of,
    noise_rows,
    noise_seeds,
    stratified_sigmas,
    without_variance,
)
from sepcli.priors.transforms import ActNorm, Coupling, Invertible1x1, Squeeze

STEP = 1 / 255
"""Quantization step of 8-bit images."""


@dataclass(frozen=True)
class GlowConfig:
    """Architecture and noise levels; stored beside the weights.

    Attributes:
        channels: C, 1 for gray, 3 for color.
        size: height and width of the training images; other sizes with suitable sides have a density, too.
        scales: number of scales, Glow's L; sides must be multiples of 2^L. See ``fitting_scales``.
        steps: steps of flow per scale, Glow's K.
        width: channels of the networks; Glow's is 512.
        affine: whether couplings scale as well as shift.
        embedding: width of the embedding of σ and class.
        sigmas: σ of every copy of the flow; empty: one flow that is conditioned on σ.
        sigma_max: greatest σ of training.
        sigma_min: least σ > 0 of training.
        clean: fraction of training images with σ = 0.
        classes: names of the classes that the flow can be conditioned on.
        class_dropout: fraction of training images whose class is dropped.
    """

    channels: int = 1
    size: tuple[int, ...] = (28, 28)
    scales: int = 2
    steps: int = 16
    width: int = 128
    affine: bool = True
    embedding: int = 32
    sigmas: tuple[float, ...] = ()
    sigma_max: float = 1.0
    sigma_min: float = 0.01
    clean: float = 0.1
    classes: tuple[str, ...] = ()
    class_dropout: float = 0.5


class Conditioner(nn.Module):
    """The network of a coupling: 3 × 3, 1 × 1 and 3 × 3 convolutions, scaled and shifted by the embedding."""

    def __init__(self, inner: int, outer: int, width: int, embedding: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inner, width, 3, padding=1)
        self.mix = nn.Conv2d(width, width, 1)
        self.tell = nn.Linear(embedding, 2 * width)
        self.leave = nn.Conv2d(width, outer, 3, padding=1)
        for layer in (self.enter, self.mix):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        zero_init(self.tell)
        zero_init(self.leave)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map (N, inner, H, W) and the embedding (N, E) to (N, outer, H, W)."""
        scale, shift = self.tell(context)[..., None, None].chunk(2, dim=1)
        h = self.mix(F.relu(self.enter(x)))
        out: Tensor = self.leave(F.relu(h * (1 + scale) + shift))
        return out


class Flow(nn.Module):
    """One flow of noisy images, log p_σ(y | class)."""

    def __init__(self, config: GlowConfig) -> None:
        super().__init__()
        self.embed = NoiseEmbedding(config.embedding, 1.0)
        self.label = nn.Embedding(len(config.classes) + 1, config.embedding)  # the last row: unknown class
        nn.init.zeros_(self.label.weight)
        scales, splits, channels = [], [], config.channels
        for number in range(config.scales):
            channels *= 4
            scales.append(_scale(config, channels, last=number == config.scales - 1))
            if number < config.scales - 1:
                channels //= 2
                splits.append(Split(Conditioner(channels, 2 * channels, config.width, config.embedding)))
        self.layers = MultiScale(scales, splits)

    def context(self, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """Return the embedding (N, E) of σ (N,) and of classes (N,); None: unknown classes."""
        if labels is None:
            labels = torch.full_like(sigma, len(self.label.weight) - 1, dtype=torch.int64)
        embedding: Tensor = self.embed(noise_at(sigma)) + self.label(labels)
        return embedding

    def forward(self, y: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return log p_σ (N,) of noisy images (N, C, H, W) for σ (N,), in nats."""
        return self.layers.log_prob(y - 0.5, self.context(sigma, labels))


class GlowPrior(nn.Module):
    """p(x) of images; fulfils ``sepcli.protocols.ScorePrior`` and ``DensityPrior``, for all sources."""

    has_variance = False
    moments = without_variance

    def __init__(self, config: GlowConfig) -> None:
        super().__init__()
        self.config = config
        self.sigma_min = min(config.sigmas, default=0.0)
        self.sigma_max = max(config.sigmas, default=config.sigma_max)
        self.flows = nn.ModuleList(Flow(config) for _ in config.sigmas or (0.0,))

    def log_prob(self, x: Tensor, sigma: float = 0.0, label: int | None = None) -> Tensor:
        """Return Σ_k log p_σ(x_k), (B,) in nats, differentiable.

        Args:
            x: (B, K, C, H, W): dequantized images for σ = 0, noisy ones for others.
            sigma: σ; of several copies, the one of the nearest noise level is used.
            label: class; None: any class.

        Raises:
            InputError: The images have a different number of channels, or do not fit the flow.
        """
        flow, level = self._nearest(torch.tensor(sigma))
        with torch.autocast(x.device.type, enabled=False):
            return self._log_prob(flow, x, level, label).view(x.shape[:2]).sum(1)

    def score(self, x: Tensor, sigma: Tensor, label: int | None = None) -> Tensor:
        """Return ∇ log p_σ at x (B, K, C, H, W) for σ (), of class ``label``, by autograd; None: any."""
        flow, level = self._nearest(sigma)
        gradient = score_of(lambda variable: self._log_prob(flow, variable, level, label), x)
        return gradient * (noise_at(level) / noise_at(sigma)).to(gradient)

    def loss(
        self, images: Tensor, rng: np.random.Generator, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of the module's docstring, and the metric ``bits``, the same.

        Images are (N, C, H, W) in [0, 1], classes (N,) int64; of several copies a random one is trained.
        """
        return self.batch_loss(*self.prepare(images, rng, labels))

    def prepare(
        self, images: Tensor, rng: np.random.Generator, labels: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor, NDArray[np.int64], int]:
        """Sample the random numbers of the loss; return the arguments of ``batch_loss``, and the copy."""
        config = self.config
        labels = drop_classes(labels, len(config.classes), config.class_dropout, rng)
        copy = int(rng.integers(len(self.flows)))
        sigma = self.training_sigmas(len(images), copy, rng)
        return images, labels, sigma, noise_seeds(2 * len(images), rng).reshape(-1, 2), copy

    def batch_loss(
        self, images: Tensor, labels: Tensor | None, sigma: Tensor, seeds: NDArray[np.int64], copy: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the same for classes after dropout (N,), given σ (N,), seeds (N, 2), and the copy."""
        device = images.device
        sigma = sigma.to(device)
        with torch.autocast(device.type, enabled=False):  # the least noise is below bfloat16 resolution
            uniform, normal = noise_rows(images, seeds[:, 0], torch.rand), noise_rows(images, seeds[:, 1])
            log_prob = self.flows[copy](_with_noise(images, sigma, uniform, normal), sigma, labels)
        bits = bits_per_dim(log_prob, images).mean()
        return bits, {"bits": float(bits.detach())}

    @torch.no_grad()
    def initialize(self, images: Tensor, rng: np.random.Generator) -> None:
        """Initialize every ``ActNorm`` to unit variance on images (N, C, H, W) with the noise of training."""
        for copy in range(len(self.flows)):
            flow, sigma = self._flow(copy), self.training_sigmas(len(images), copy, rng).to(images.device)
            context = flow.context(sigma, None)
            flow.layers.initialize(noisy(images, sigma, rng) - 0.5, context)

    @torch.no_grad()
    def sample(
        self,
        count: int,
        rng: torch.Generator,
        *,
        sigma: float = 0.0,
        temperature: float = 1.0,
        label: int | None = None,
    ) -> Tensor:
        """Sample images (N, C, H, W), values about [0, 1], with noise of σ; ``rng`` is on the CPU.

        ``temperature`` is the standard deviation of the latents: less than 1 for more probable, smoother
        images.
        """
        flow, level = self._nearest(torch.tensor(sigma))
        device = device_of(flow)
        labels = None if label is None else torch.full((count,), label, device=device)
        context = flow.context(level.to(device).expand(count), labels)
        like = torch.zeros((count, self.config.channels, *self.config.size), device=device)
        return flow.layers.sample(like, context, rng, temperature) + 0.5

    def training_sigmas(self, count: int, copy: int, rng: np.random.Generator) -> Tensor:
        """Return σ (N,) of training: that of the copy, or a random one, stratified in ln σ."""
        config = self.config
        if config.sigmas:
            return torch.full((count,), config.sigmas[copy])
        return stratified_sigmas(count, config.sigma_min, config.sigma_max, config.clean, rng)

    def _nearest(self, sigma: Tensor) -> tuple[Flow, Tensor]:
        """Return the flow of the noise level nearest to σ (), and that level."""
        if not self.config.sigmas:
            return self._flow(0), sigma.clamp(max=self.config.sigma_max)
        sigmas = torch.tensor(self.config.sigmas)
        distance = noise_at(sigmas).log() - noise_at(sigma).cpu().log()
        copy = int(distance.abs().argmin())
        return self._flow(copy), sigmas[copy].to(sigma.device)

    def _flow(self, copy: int) -> Flow:
        return cast(Flow, self.flows[copy])

    def _log_prob(self, flow: Flow, x: Tensor, sigma: Tensor, label: int | None) -> Tensor:
        """Return log p_σ (B·K,) of every image of x (B, K, C, H, W)."""
        images, labels = rows_of(x, self.config.channels, label)
        divisor = 2**self.config.scales
        if x.shape[3] % divisor or x.shape[4] % divisor:
            raise InputError(
                f"images of {x.shape[3]} x {x.shape[4]} do not fit a flow of {self.config.scales} scales",
                f"crop or resize them to sides that are multiples of {divisor}",
            )
        rows = images.to(flow.embed.frequencies)  # the dtype of the flow
        log_prob: Tensor = flow(rows, sigma.to(rows).expand(len(rows)), labels)
        return log_prob


def noise_at(sigma: Tensor) -> Tensor:
    """Return s(σ), the standard deviation of the total noise, including dequantization."""
    return (sigma.square() + STEP**2 / 12).sqrt()


def noisy(images: Tensor, sigma: Tensor, rng: np.random.Generator) -> Tensor:
    """Dequantize images (N, C, H, W) and add noise of standard deviation σ (N,)."""
    generator = generator_of(rng)
    uniform = torch.rand(images.shape, generator=generator).to(images)
    normal = torch.randn(images.shape, generator=generator).to(images)
    return _with_noise(images, sigma, uniform, normal)


def _with_noise(images: Tensor, sigma: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
    return images + STEP * (uniform - 0.5) + column(sigma) * normal


def bits_per_dim(log_prob: Tensor, images: Tensor) -> Tensor:
    """Return the bits per dimension of 8-bit images (N, ...) with log densities (N,) in nats."""
    return math.log2(1 / STEP) - log_prob / (math.log(2) * images[0].numel())


@torch.no_grad()
def negative_log_likelihood(
    prior: GlowPrior, images: Tensor, *, sigma: float = 0.0, seed: int = 0, batch: int = 64
) -> Tensor:
    """Return the bits per dimension of every image (N, C, H, W) in [0, 1] with noise of σ.

    The values (N,) are on the CPU; at σ = 0 they are unbiased estimates of the bound on bits per dimension
    that papers report. The noise of an image depends on its index, so that its value does not depend on the
    number of images processed at once.
    """
    device, values = device_of(prior), []
    for start in range(0, len(images), batch):
        rows = images[start : start + batch]
        level = torch.full((1,), sigma)
        noised = [
            noisy(image[None], level, np.random.default_rng([seed, start + n]))
            for n, image in enumerate(rows)
        ]
        log_prob = prior.log_prob(torch.cat(noised)[:, None].to(device), sigma)
        values.append(bits_per_dim(log_prob, rows.to(device)).cpu())
    return torch.cat(values)


def _scale(config: GlowConfig, channels: int, last: bool) -> Chain:
    """Return one scale: a squeeze and the steps of flow; the last scale ends with an ``ActNorm``."""
    half, outer = channels // 2, channels // 2 * (2 if config.affine else 1)
    layers: list[nn.Module] = [Squeeze()]
    for _ in range(config.steps):
        net = Conditioner(half, outer, config.width, config.embedding)
        layers += [
            ActNorm(channels, config.embedding),
            Invertible1x1(channels),
            Coupling(net, config.affine),
        ]
    return Chain(*layers, *([ActNorm(channels, config.embedding)] if last else []))
