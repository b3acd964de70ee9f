"""Glow, a normalizing flow of images of couplings: the network of a ``FlowPrior``.

One flow is conditioned on σ: ln s is an input of its networks and its ``ActNorm``s.

Source: Kingma & Dhariwal 2018 (Glow), the architecture, without its activation normalization inside the
    networks; Perez et al. 2018 (FiLM), the conditioning.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.priors.flows import Chain, MultiScale, Split
from sepcli.priors.images.denoiser import zero_init
from sepcli.priors.images.flow import FlowPrior, context_of
from sepcli.priors.noise import NoiseEmbedding
from sepcli.priors.transforms import ActNorm, Coupling, Invertible1x1, Squeeze


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
        denoising: weight of the error of denoising in the loss.
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
    denoising: float = 0.0

    @property
    def divisor(self) -> int:
        """The sides of images are multiples of it."""
        return int(2**self.scales)


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


class Glow(nn.Module):
    """One flow of noisy images; fulfils ``FlowNetwork``."""

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

    def forward(self, y: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """See ``FlowNetwork``."""
        return self.layers.log_prob(y - 0.5, context_of(self, self.label, sigma, labels))

    def initialize(self, y: Tensor, sigma: Tensor) -> None:
        """Initialize every ``ActNorm`` to unit variance; see ``FlowNetwork``."""
        self.layers.initialize(y - 0.5, context_of(self, self.label, sigma, None))

    def sample(
        self, like: Tensor, sigma: Tensor, labels: Tensor | None, rng: torch.Generator, temperature: float
    ) -> Tensor:
        """See ``FlowNetwork``."""
        return self.layers.sample(like, context_of(self, self.label, sigma, labels), rng, temperature) + 0.5


def glow_prior(config: GlowConfig) -> FlowPrior:
    """Return the prior of a Glow."""
    return FlowPrior(config, lambda: Glow(config))


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
