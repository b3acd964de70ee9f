"""Encoders: from the waveform of a mixture to a Gaussian for every sample of each of its sources.

    μ_k = m/(K α_k) + f_k(m, s),   ρ_k = s e^{r_k(m, s)}

One WaveNet (see ``sepcli.priors.audio.wavenet``) per source yields f_k and r_k; both are 0 before training,
so that the initial estimates are equal parts of the mixture. s is the noise level at which the priors are
evaluated, and an input of the networks. Training at many s, coarse and fine, leads from the initial estimates
to the sources at the least s. Everything is computed in float32.

Source: Frank 2020, the posteriors q(s_k | m) of "Modeling the posteriors"; Rethage et al. 2018 for a
    non-causal WaveNet with a mixture as input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sepcli.priors.audio.wavenet import MAX_LAYERS, WaveNet
from sepcli.priors.transforms import Linear

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"squeezes": 2, "width": 4, "layers": 2, "embedding": 4},
    "small": {},
    "base": {"width": 128, "layers": 10, "embedding": 64},
}
"""Sizes: ``small`` for ten minutes on two CPU cores, ``base`` for a GPU, ``tiny`` for tests."""
MAX_LOG_RATIO = 3.0
"""Standard deviations are between s e^-3 and s e^3."""


@dataclass(frozen=True)
class EncodersConfig:
    """Architecture and mixing of the encoders; stored beside the weights.

    Attributes:
        weights: α_k of the mixing m = Σ α_k x_k, one per encoder.
        squeezes: number of times that the time axis is halved before the networks, and doubled after.
        width: channels of the WaveNets.
        layers: layers of each WaveNet; the dilation of layer n is 2^n positions.
        embedding: width of the embedding of s.
        noise: least s, at which mixtures are separated.
        noise_max: greatest s of training.
        mixture_noise: σ_m; 0: sources sum to the mixture exactly. See ``sepcli.posterior.gaussian_sources``.
    """

    weights: tuple[float, ...]
    squeezes: int = 3
    width: int = 48
    layers: int = 8
    embedding: int = 32
    noise: float = 0.02
    noise_max: float = 0.5
    mixture_noise: float = 0.0

    def __post_init__(self) -> None:
        mixing = len(self.weights) > 1 and all(math.isfinite(w) and w != 0 for w in self.weights)
        sizes = min(self.width, self.layers, self.embedding) >= 1 and self.layers <= MAX_LAYERS
        levels = 0 < self.noise <= self.noise_max < math.inf and 0 <= self.mixture_noise < math.inf
        if not (mixing and sizes and levels and 0 <= self.squeezes <= MAX_LAYERS):
            raise ValueError("a value of the encoders' config is out of range")

    @property
    def factor(self) -> int:
        """The length of mixtures must be a multiple of this number of samples."""
        return int(2**self.squeezes)


class Encoders(nn.Module):
    """K encoders, for mixtures of K sources with given weights."""

    def __init__(self, config: EncodersConfig) -> None:
        super().__init__()
        self.config = config
        embedding, factor = config.embedding, config.factor
        self.embed = nn.Sequential(Linear(1, embedding), nn.SiLU(), Linear(embedding, embedding))
        sizes = {"width": config.width, "layers": config.layers, "embedding": embedding}
        self.networks = nn.ModuleList(WaveNet(factor, 2 * factor, **sizes) for _ in config.weights)

    def forward(self, mixture: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and ρ (B, K, 1, T) of mixtures (B, 1, T), T a multiple of ``config.factor``, for s ()."""
        config = self.config
        norm = math.hypot(*config.weights)
        with torch.autocast(mixture.device.type, enabled=False):
            context = self.embed(noise.log().expand(len(mixture), 1))
            positions = (mixture / norm).reshape(len(mixture), -1, config.factor).mT
            outputs = [network(positions, context) for network in self.networks]
            shift, log_std = (
                torch.stack(parts, dim=1).mT.flatten(2)[:, :, None]
                for parts in zip(*(output.chunk(2, dim=1) for output in outputs), strict=True)
            )
            shares = torch.stack([mixture / (len(outputs) * weight) for weight in config.weights], dim=1)
            return shares + shift, noise * (MAX_LOG_RATIO * (log_std / MAX_LOG_RATIO).tanh()).exp()
