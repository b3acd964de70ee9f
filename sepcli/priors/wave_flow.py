"""A flow of waveforms: log p(x) of one kind of sound itself, at every noise level, and so its score.

    y = x + s(σ) ε,   s(σ)² = σ² + σ_0²,   ε ~ N(0, I)                   what is modelled
    loss = -log p_σ(y)/T                                                 nats per sample

Units: full scale is 1, log_prob is in nats per signal of T samples; tables show it divided by T. σ_0 is noise
that is always there: without it, waves that repeat exactly have no density. It may be as large as one likes,
for a smoother density (the noise augmentation of the thesis). Beyond it one flow is told σ by its networks
and its ``ActNorm``s, as ``sepcli.priors.glow`` is; with ``sigma_max`` = 0 it is trained on σ_0 alone.

Two variants differ in how channels meet between couplings; samples become channels by squeezing:

    flowavenet    half of the samples, even or odd, are moved given the others, in turns: channels are flipped
    waveglow      channels are mixed by a learnt invertible matrix; several squeezes come first

Both ask a WaveNet, non-causal, gated and dilated, for shift and scale. All is computed in float32: what is
left of a predictable wave is as small as σ_0, and rounding must be smaller. The weights of the WaveNets are
stored in bfloat16, which flows of toy waves were none the worse for.

Source: Kim et al. 2019 (FloWaveNet); Prenger et al. 2019 (WaveGlow), both here without mel frames; van den
    Oord et al. 2016 (WaveNet); Perez et al. 2018 (FiLM); Frank 2020, the thesis whose priors these are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sepcli.errors import InputError, PriorError
from sepcli.priors.transforms import (
    ActNorm,
    Chain,
    Coupling,
    Invertible1x1,
    Linear,
    MultiScale,
    Split,
    Squeeze,
)

VARIANTS = ("flowavenet", "waveglow")
PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "waveglow": {
        "tiny": {"squeezes": (2, 1), "steps": 1, "width": 4, "layers": 2, "embedding": 4},
        "small": {"squeezes": (3, 1), "steps": 6, "width": 32, "layers": 6},
        "base": {"squeezes": (3, 1, 1), "steps": 8, "width": 128, "layers": 8, "embedding": 64},
    },
    "flowavenet": {
        "tiny": {"squeezes": (1, 1), "steps": 2, "width": 4, "layers": 2, "embedding": 4},
        "small": {"squeezes": (1, 1, 1, 1, 1), "steps": 2, "width": 24, "layers": 6},
        "base": {"squeezes": (1,) * 6, "steps": 6, "width": 96, "layers": 8, "embedding": 64},
    },
}
"""Variant → sizes: ``small`` for ten minutes on two CPU cores, ``base`` for a GPU, ``tiny`` for tests."""
MOST = 12
"""Squeezes in all, at most: 4,096 samples become one place."""


@dataclass(frozen=True)
class WaveFlowConfig:
    """Sizes of the flow and its noise levels; they are stored beside the weights.

    Attributes:
        sample_rate: Hz.
        variant: one of ``VARIANTS``.
        squeezes: how often each scale halves the time axis; half of the channels leave after each but the
            last.
        steps: steps of flow per scale.
        width: channels of the WaveNets.
        layers: of each WaveNet; layer n looks 2^n places far.
        embedding: width of what tells the flow σ.
        noise: σ_0, the noise that is always there.
        sigma_max: the greatest σ that it is trained on; 0: no noise but σ_0.
        sigma_min: the least but 0.
        clean: share of training chunks with σ = 0.
        peak: no sample of such sounds is further from 0; 0: there is no such bound.

    Raises:
        ValueError: no such variant, or numbers that make no flow.
    """

    sample_rate: int = 14_700
    variant: str = "waveglow"
    squeezes: tuple[int, ...] = (3, 1)
    steps: int = 6
    width: int = 32
    layers: int = 6
    embedding: int = 32
    noise: float = 1e-3
    sigma_max: float = 1.0
    sigma_min: float = 2e-3
    clean: float = 0.1
    peak: float = 0.0

    def __post_init__(self) -> None:
        whole = min(self.squeezes, default=0) >= 1 and sum(self.squeezes) <= MOST
        sizes = min(self.steps, self.width, self.layers) >= 1 and self.layers <= MOST and self.embedding >= 2
        levels = self.noise > 0 and (self.sigma_max == 0 or 0 < self.sigma_min < self.sigma_max < math.inf)
        if not (
            self.variant in VARIANTS
            and whole
            and sizes
            and levels
            and 0 <= self.clean <= 1
            and self.peak >= 0
        ):
            raise ValueError("these numbers make no flow")

    @property
    def factor(self) -> int:
        """Signals must be a multiple of so many samples long."""
        return int(2 ** sum(self.squeezes))


class WaveNetSizes(Protocol):
    """What a ``WaveNet`` takes of a config; see ``WaveFlowConfig``."""

    @property
    def width(self) -> int:
        """Channels."""
        ...

    @property
    def layers(self) -> int:
        """Layer n looks 2^n places far."""
        ...

    @property
    def embedding(self) -> int:
        """Width of the context."""
        ...


class WaveNet(nn.Module):
    """What a coupling asks: gated convolutions over time, each looking twice as far as the one before.

    Args:
        inner: channels that are known.
        outer: channels of the answer.
        config: sizes.
    """

    def __init__(self, inner: int, outer: int, config: WaveNetSizes) -> None:
        super().__init__()
        width, places = config.width, [2**n for n in range(config.layers)]
        self.enter = nn.Conv1d(inner, width, 1)
        self.gates = nn.ModuleList(nn.Conv1d(width, 2 * width, 3, padding=d, dilation=d) for d in places)
        self.onward = nn.ModuleList(nn.Conv1d(width, 2 * width, 1) for _ in places)
        self.tell = nn.Linear(config.embedding, 2 * width * config.layers)
        self.leave = nn.Conv1d(width, outer, 1)
        for parameter in (*self.tell.parameters(), *self.leave.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, inner, N) and the embedding (B, E) to (B, outer, N)."""
        x = self.enter(x)
        told = self.tell(context)[..., None].chunk(len(self.gates), dim=1)
        skipped = torch.zeros_like(x)
        for gate, onward, own in zip(self.gates, self.onward, told, strict=True):
            value, opening = (gate(x) + own).chunk(2, dim=1)
            more, skip = onward(value.tanh() * opening.sigmoid()).chunk(2, dim=1)
            x, skipped = x + more, skipped + skip
        out: Tensor = self.leave(skipped)
        return out


class Flip(nn.Module):
    """Channels in reverse order, so that the next coupling moves the other half."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``sepcli.priors.transforms.Transform``."""
        return x.flip(1), x.new_zeros(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """See ``sepcli.priors.transforms.Transform``."""
        return y.flip(1)


class WaveFlow(nn.Module):
    """p(x) of sounds; fulfils ``sepcli.protocols.ScorePrior`` and ``DensityPrior``, one prior for all."""

    frequencies: Tensor

    def __init__(self, config: WaveFlowConfig) -> None:
        super().__init__()
        self.config = config
        half = config.embedding // 2
        self.register_buffer("frequencies", torch.logspace(0.0, 1.0, half, dtype=torch.float32), False)
        self.embed = nn.Sequential(
            Linear(2 * half, config.embedding), nn.SiLU(), Linear(config.embedding, config.embedding)
        )
        scales, splits, channels = [], [], 1
        for number, squeezes in enumerate(config.squeezes):
            channels *= 2**squeezes
            last = number == len(config.squeezes) - 1
            scales.append(_scale(config, channels, squeezes, last))
            if not last:
                channels //= 2
                splits.append(Split(WaveNet(channels, 2 * channels, config)))
        self.layers = MultiScale(scales, splits)

    def log_prob(self, x: Tensor, sigma: float = 0.0) -> Tensor:
        """Σ_k log p_σ(x_k).

        Args:
            x: (B, K, 1, T), sounds with noise of s(σ) in them; T is a multiple of ``config.factor``.
            sigma: σ; beyond ``config.sigma_max`` that is meant.

        Returns:
            (B,) in nats, differentiable.

        Raises:
            InputError: the signals are not of one channel and such a length.
        """
        with torch.autocast(x.device.type, enabled=False):
            return self._asked(x, x.new_tensor(sigma)).view(x.shape[:2]).sum(1)

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, K, 1, T) for σ (), by autograd.

        Beyond the noise that was learnt it is that of the nearest level, rescaled.

        Raises:
            InputError: the signals are not of one channel and a fitting length.
        """
        off_device = torch.autocast(x.device.type, enabled=False)
        with torch.inference_mode(False), torch.enable_grad(), off_device:
            free = x.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self._asked(free, sigma).sum(), free)
        ratio = self.noise_at(self._known(sigma)) / self.noise_at(sigma)
        return gradient * ratio.to(gradient)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """There are none: a density is not quick to say the variance of clean sounds given noisy ones.

        Raises:
            PriorError: always.
        """
        raise PriorError("the prior does not know its posterior variance", "separate with --set weigh=0")

    def loss(self, x: Tensor, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Nats per sample of sounds under noise.

        Args:
            x: (B, T), clean.
            rng: of levels and noise.

        Returns:
            The loss () of the module's docstring, and the figure ``nats``, the same.
        """
        sigma = self._levels(len(x), rng).to(x.device)
        with torch.autocast(x.device.type, enabled=False):
            y = self._noisy(x[:, None], sigma, rng)
            nats = -self.layers.log_prob(y, self._context(sigma)).mean() / x.shape[-1]
        return nats, {"nats": float(nats.detach())}

    @torch.no_grad()
    def initialise(self, x: Tensor, rng: np.random.Generator) -> None:
        """Let every ``ActNorm`` begin at unit variance for sounds (B, T), with noise of training."""
        sigma = self._levels(len(x), rng).to(x.device)
        self.layers.initialise(self._noisy(x[:, None], sigma, rng), self._context(sigma))

    @torch.no_grad()
    def sample(
        self, count: int, length: int, rng: torch.Generator, *, sigma: float = 0.0, temperature: float = 1.0
    ) -> Tensor:
        """Draw sounds.

        Args:
            count: B.
            length: T, a multiple of ``config.factor``.
            rng: on the CPU.
            sigma: of the noise in them, besides σ_0.
            temperature: the latents' standard deviation; less than 1 for likelier sounds.

        Returns:
            (B, T).
        """
        like = self.frequencies.new_zeros(count, 1, length)
        context = self._context(self._known(like.new_tensor(sigma)).expand(count))
        latents, _ = self.layers(like, context)
        drawn = [temperature * torch.randn(z.shape, generator=rng).to(z) for z in latents]
        signals: Tensor = self.layers.inverse(drawn, context)
        return signals[:, 0]

    def noise_at(self, sigma: Tensor) -> Tensor:
        """s(σ), the standard deviation of all noise."""
        return (sigma.square() + self.config.noise**2).sqrt()

    def _noisy(self, x: Tensor, sigma: Tensor, rng: np.random.Generator) -> Tensor:
        """Signals (B, 1, T) with noise of s(σ) for σ (B,)."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(x.shape, generator=generator).to(x)
        return x + self.noise_at(sigma)[:, None, None] * noise

    def _levels(self, count: int, rng: np.random.Generator) -> Tensor:
        """σ (B,) of training: spread evenly over all levels, ln σ from least to most."""
        config = self.config
        if config.sigma_max == 0:
            return torch.zeros(count)
        place = (rng.permutation(count) + rng.random()) / count  # of [0, 1): the first share is clean
        where = (place - config.clean) / max(1.0 - config.clean, 1e-9)
        sigma = config.sigma_min * (config.sigma_max / config.sigma_min) ** where
        return torch.from_numpy(np.where(where < 0.0, 0.0, sigma)).float()

    def _known(self, sigma: Tensor) -> Tensor:
        """The nearest σ that was learnt."""
        return sigma.clamp(max=self.config.sigma_max)

    def _context(self, sigma: Tensor) -> Tensor:
        """The embedding (B, E) of σ (B,)."""
        angles = (self.noise_at(sigma).log() / 4)[:, None] * self.frequencies
        told: Tensor = self.embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        return told

    def _asked(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log p of every signal of x (B, K, 1, T) for σ (), (B·K,)."""
        if x.dim() != 4 or x.shape[2] != 1 or x.shape[3] % self.config.factor or not x.shape[3]:
            raise InputError(
                f"signals of shape {tuple(x.shape)} do not fit a flow of waveforms",
                f"use one channel and a length that is a multiple of {self.config.factor} samples",
            )
        rows = x.flatten(0, 1).to(self.frequencies)  # in the precision of the flow
        return self.layers.log_prob(rows, self._context(self._known(sigma).to(rows).expand(len(rows))))


def _scale(config: WaveFlowConfig, channels: int, squeezes: int, last: bool) -> Chain:
    """Squeeze, then the steps of flow at this many channels; the last scale ends in unit variance."""
    half = channels // 2
    layers: list[nn.Module] = [Squeeze() for _ in range(squeezes)]
    for _ in range(config.steps):
        mix = Invertible1x1(channels) if config.variant == "waveglow" else Flip()
        layers += [ActNorm(channels, config.embedding), mix, Coupling(WaveNet(half, channels, config))]
    return Chain(*layers, *([ActNorm(channels, config.embedding)] if last else []))
