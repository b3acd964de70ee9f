"""A normalizing flow of images as a prior: log p(x) at every noise level, and hence the score.

    y = x + (u - ½)/255 + σ ε,   u uniform on [0, 1), ε ~ N(0, I)         what is modelled
    bits = -log p_σ(y)/(D ln 2) + log₂ 255                                per dimension
    loss = bits + w · error of denoising                                  see sepcli.priors.flows

Units: images x are in [0, 1], in steps of 1/255, and so are y, σ and all densities (nats, per unit of
intensity and dimension; D dimensions). Uniform noise one step wide makes p a density without moving x; at σ =
0 the bits are the bound on the bits per dimension of 8-bit images that Glow reports, and the total noise at
the level σ is s(σ) = √(σ² + 1/(12 · 255²)), never 0.

p_σ is represented in one of two ways. One flow is conditioned on σ, and trained on all σ at once. Or there
are copies of a flow, each fine-tuned at one noise level, as in the paper; between the levels the nearest in
ln s is used, and its score is rescaled by s.

Source: Jayaram & Thickstun 2020 (BASIS), section 3.5; Kingma & Dhariwal 2018 (Glow), the units.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sepcli.errors import InputError
from sepcli.priors.flows import density_and_error, score_of
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

STEP = 1 / 255
"""Quantization step of 8-bit images."""


class FlowConfig(Protocol):
    """What a prior needs of the config of its network; see ``GlowConfig``."""

    @property
    def channels(self) -> int:
        """C."""

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of the training images."""

    @property
    def divisor(self) -> int:
        """The sides of images must be multiples of it."""

    @property
    def sigmas(self) -> tuple[float, ...]:
        """σ of every copy of the flow; empty: one flow that is conditioned on σ."""

    @property
    def sigma_max(self) -> float:
        """Greatest σ of training."""

    @property
    def sigma_min(self) -> float:
        """Least σ > 0 of training."""

    @property
    def clean(self) -> float:
        """Fraction of training images with σ = 0."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the flow can be conditioned on."""

    @property
    def class_dropout(self) -> float:
        """Fraction of training images whose class is dropped."""

    @property
    def denoising(self) -> float:
        """w, weight of the error of denoising in the loss."""


class FlowNetwork(Protocol):
    """One flow of noisy images, log p_σ(y | class); a ``nn.Module``."""

    @property
    def embed(self) -> NoiseEmbedding:
        """The embedding of σ."""

    def __call__(self, y: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return log p_σ (N,) of noisy images (N, C, H, W) for σ (N,) and classes (N,), in nats."""
        ...

    def initialize(self, y: Tensor, sigma: Tensor) -> None:
        """Fit scales to noisy images (N, C, H, W) of σ (N,)."""

    def sample(
        self, like: Tensor, sigma: Tensor, labels: Tensor | None, rng: torch.Generator, temperature: float
    ) -> Tensor:
        """Sample images like ``like``; ``rng`` is on the CPU."""
        ...


class FlowPrior(nn.Module):
    """p(x) of images; fulfils ``sepcli.protocols.ScorePrior`` and ``DensityPrior``, for all sources.

    Args:
        config: of the network.
        network: makes a network, once per copy.
    """

    has_variance = False
    moments = without_variance

    def __init__(self, config: FlowConfig, network: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.config = config
        self.sigma_min = min(config.sigmas, default=0.0)
        self.sigma_max = max(config.sigmas, default=config.sigma_max)
        self.flows = nn.ModuleList(network() for _ in config.sigmas or (0.0,))

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
        """Return the loss () of the module's docstring, and the metrics ``bits`` and ``denoising``.

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
            clean, noise = _dequantized(images, uniform), column(sigma) * normal
            flow, weight = cast(FlowNetwork, self.flows[copy]), self.config.denoising
            if not weight:
                bits = bits_per_dim(flow(clean + noise, sigma, labels), images).mean()
                return bits, {"bits": float(bits.detach())}
            log_prob, error = density_and_error(lambda y: flow(y, sigma, labels), clean, noise, sigma)
        bits = bits_per_dim(log_prob, images).mean()
        return bits + weight * error, {"bits": float(bits.detach()), "denoising": float(error.detach())}

    @torch.no_grad()
    def initialize(self, images: Tensor, rng: np.random.Generator) -> None:
        """Initialize every ``ActNorm`` to unit variance on images (N, C, H, W) with the noise of training."""
        for copy in range(len(self.flows)):
            sigma = self.training_sigmas(len(images), copy, rng).to(images.device)
            self._flow(copy).initialize(noisy(images, sigma, rng), sigma)

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
        device = device_of(self)
        labels = None if label is None else torch.full((count,), label, device=device)
        like = torch.zeros((count, self.config.channels, *self.config.size), device=device)
        return flow.sample(like, level.to(device).expand(count), labels, rng, temperature)

    def training_sigmas(self, count: int, copy: int, rng: np.random.Generator) -> Tensor:
        """Return σ (N,) of training: that of the copy, or a random one, stratified in ln σ."""
        config = self.config
        if config.sigmas:
            return torch.full((count,), config.sigmas[copy])
        return stratified_sigmas(count, config.sigma_min, config.sigma_max, config.clean, rng)

    def _nearest(self, sigma: Tensor) -> tuple[FlowNetwork, Tensor]:
        """Return the flow of the noise level nearest to σ (), and that level."""
        if not self.config.sigmas:
            return self._flow(0), sigma.clamp(max=self.config.sigma_max)
        sigmas = torch.tensor(self.config.sigmas)
        distance = noise_at(sigmas).log() - noise_at(sigma).cpu().log()
        copy = int(distance.abs().argmin())
        return self._flow(copy), sigmas[copy].to(sigma.device)

    def _flow(self, copy: int) -> FlowNetwork:
        return cast(FlowNetwork, self.flows[copy])

    def _log_prob(self, flow: FlowNetwork, x: Tensor, sigma: Tensor, label: int | None) -> Tensor:
        """Return log p_σ (B·K,) of every image of x (B, K, C, H, W)."""
        images, labels = rows_of(x, self.config.channels, label)
        divisor = self.config.divisor
        if x.shape[3] % divisor or x.shape[4] % divisor:
            raise InputError(
                f"images of {x.shape[3]} x {x.shape[4]} do not fit the flow",
                f"crop or resize them to sides that are multiples of {divisor}",
            )
        rows = images.to(flow.embed.frequencies)  # the dtype of the flow
        return flow(rows, sigma.to(rows).expand(len(rows)), labels)


def context_of(network: FlowNetwork, label: nn.Embedding, sigma: Tensor, labels: Tensor | None) -> Tensor:
    """Return the embedding (N, E) of σ (N,) and of classes (N,); None: unknown classes, the last row."""
    if labels is None:
        labels = torch.full_like(sigma, len(label.weight) - 1, dtype=torch.int64)
    embedding: Tensor = network.embed(noise_at(sigma)) + label(labels)
    return embedding


def noise_at(sigma: Tensor) -> Tensor:
    """Return s(σ), the standard deviation of the total noise, including dequantization."""
    return (sigma.square() + STEP**2 / 12).sqrt()


def noisy(images: Tensor, sigma: Tensor, rng: np.random.Generator) -> Tensor:
    """Dequantize images (N, C, H, W) and add noise of standard deviation σ (N,)."""
    generator = generator_of(rng)
    uniform = torch.rand(images.shape, generator=generator).to(images)
    normal = torch.randn(images.shape, generator=generator).to(images)
    return _dequantized(images, uniform) + column(sigma) * normal


def _dequantized(images: Tensor, uniform: Tensor) -> Tensor:
    return images + STEP * (uniform - 0.5)


def bits_per_dim(log_prob: Tensor, images: Tensor) -> Tensor:
    """Return the bits per dimension of 8-bit images (N, ...) with log densities (N,) in nats."""
    return math.log2(1 / STEP) - log_prob / (math.log(2) * images[0].numel())


@torch.no_grad()
def negative_log_likelihood(
    prior: FlowPrior, images: Tensor, *, sigma: float = 0.0, seed: int = 0, batch: int = 64
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
