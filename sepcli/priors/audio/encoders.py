"""Encoders: from the waveform of a mixture to a Gaussian for every sample of each of its sources.

    μ_k = m/(K α_k) + f_k(m, s),   ρ_k = s e^{r_k(m, s)}

One WaveNet (see ``sepcli.priors.audio.wavenet``) per source gives f_k and r_k; before training both are 0, so
that every source begins as its share of the mixture. s is the standard deviation of the noise under which the priors
look at sources, and the networks are told it. Being asked at many s, coarse and fine, is what leads them from
the former to the latter. All is computed in float32.

Source: Frank 2020, the posteriors q(s_k | m) of "Modeling the posteriors"; Rethage et al. 2018 for a
    non-causal WaveNet that hears a mixture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sepcli.priors.audio.wavenet import MOST, WaveNet
from sepcli.priors.flows import Linear

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"squeezes": 2, "width": 4, "layers": 2, "embedding": 4},
    "small": {},
    "base": {"width": 128, "layers": 10, "embedding": 64},
}
"""Sizes: ``small`` for ten minutes on two CPU cores, ``base`` for a GPU, ``tiny`` for tests."""
FURTHEST = 3.0
"""Standard deviations are within e^±3 of s."""


@dataclass(frozen=True)
class EncodersConfig:
    """Sizes of the encoders and what they are for; they are stored beside the weights.

    Attributes:
        weights: α_k of the mixing m = Σ α_k x_k, one per encoder.
        squeezes: how often the time axis is halved before the networks, and doubled after.
        width: channels of the WaveNets.
        layers: of each WaveNet; layer n looks 2^n places far.
        embedding: width of what tells a WaveNet s.
        noise: the least s, at which mixtures are separated.
        noise_max: the greatest s of training.
        mixture_noise: σ_m; 0: sources sum to the mixture exactly. See ``sepcli.posterior.gaussian_sources``.

    Raises:
        ValueError: numbers that make no encoders.
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
        mixes = len(self.weights) > 1 and all(math.isfinite(w) and w != 0 for w in self.weights)
        sizes = min(self.width, self.layers, self.embedding) >= 1 and self.layers <= MOST
        levels = 0 < self.noise <= self.noise_max < math.inf and 0 <= self.mixture_noise < math.inf
        if not (mixes and sizes and levels and 0 <= self.squeezes <= MOST):
            raise ValueError("these numbers make no encoders")

    @property
    def factor(self) -> int:
        """Mixtures must be a multiple of so many samples long."""
        return int(2**self.squeezes)


class Encoders(nn.Module):
    """K of them, for mixtures of K known weights."""

    def __init__(self, config: EncodersConfig) -> None:
        super().__init__()
        self.config = config
        width, factor = config.embedding, config.factor
        self.embed = nn.Sequential(Linear(1, width), nn.SiLU(), Linear(width, width))
        self.networks = nn.ModuleList(WaveNet(factor, 2 * factor, config) for _ in config.weights)

    def forward(self, mixture: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Mixtures (B, 1, T), T a multiple of ``config.factor``, and s () to μ and ρ (B, K, 1, T)."""
        config = self.config
        size = math.hypot(*config.weights)
        with torch.autocast(mixture.device.type, enabled=False):
            context = self.embed(noise.log().expand(len(mixture), 1))
            places = (mixture / size).reshape(len(mixture), -1, config.factor).mT
            told = [network(places, context) for network in self.networks]
            added, log_std = (
                torch.stack(parts, dim=1).mT.flatten(2)[:, :, None]
                for parts in zip(*(one.chunk(2, dim=1) for one in told), strict=True)
            )
            shares = torch.stack([mixture / (len(told) * weight) for weight in config.weights], dim=1)
            return shares + added, noise * (FURTHEST * (log_std / FURTHEST).tanh()).exp()
