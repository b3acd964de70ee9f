"""A flow of waveforms: log p(x) of one kind of sound itself, at every noise level, and so its score.

    y = x + s(σ) ε,   s(σ)² = σ² + σ_0²,   ε ~ N(0, I)                   what is modelled
    loss = -log p_σ(y)/T                                                 nats per sample

Units: full scale is 1, log_prob is in nats per signal of T samples; tables show it divided by T. σ_0 is noise
that is always there: without it, waves that repeat exactly have no density. It may be as large as one likes,
for a smoother density (the noise augmentation of the thesis). Beyond it one flow is told σ by its networks
and its ``ActNorm``s, as ``sepcli.priors.images.glow`` is; with ``sigma_max`` = 0 it is trained on σ_0 alone.

Three variants differ in what channels are and how they meet between couplings:

    flowavenet    half of the samples, even or odd, are moved given the others, in turns: channels are flipped
    waveglow      channels are mixed by a learnt invertible matrix; several squeezes come first
    spectral      as waveglow, but channels are bands and places are frames of a lapped transform, the MDCT;
                  it is orthogonal, so that log p is of samples all the same

Samples become channels by squeezing, in the first scale of ``spectral`` by the transform. All ask a WaveNet,
non-causal, gated and dilated, for shift and scale. All is computed in float32: what is left of a predictable
wave is as small as σ_0, and rounding must be smaller. The weights of the WaveNets are stored in bfloat16,
which flows of toy waves were none the worse for.

With ``mels`` > 0 the flow is conditioned on mel frames of the clean sound: p_σ(y | mel(x)), with which
``sample`` is a vocoder. It cannot separate: the mel frames of the sources of a mixture are not known.

Source: Kim et al. 2019 (FloWaveNet); Prenger et al. 2019 (WaveGlow); Malvar 1992 (lapped transforms);
    Perez et al. 2018 (FiLM); Frank 2020, the thesis whose priors these are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sepcli.errors import InputError, PriorError
from sepcli.priors.audio.mel import HOP, MOST_BANDS, MelFrames
from sepcli.priors.audio.wavenet import MOST, WaveNet
from sepcli.priors.flows import (
    ActNorm,
    Chain,
    Coupling,
    Invertible1x1,
    Lapped,
    Linear,
    MultiScale,
    Split,
    Squeeze,
)

VARIANTS = ("flowavenet", "waveglow", "spectral")
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
    "spectral": {
        "tiny": {"squeezes": (2,), "steps": 2, "width": 4, "layers": 2, "embedding": 4},
        "small": {"squeezes": (6,), "steps": 8, "width": 64, "layers": 5},
        "base": {"squeezes": (8,), "steps": 10, "width": 192, "layers": 7, "embedding": 64},
    },
}
"""Variant → sizes: ``small`` for ten minutes on two CPU cores, ``base`` for a GPU, ``tiny`` for tests."""


@dataclass(frozen=True)
class WaveFlowConfig:
    """Sizes of the flow and its noise levels; they are stored beside the weights.

    Attributes:
        sample_rate: Hz.
        variant: one of ``VARIANTS``.
        squeezes: how often each scale halves the time axis; half of the channels leave after each but the
            last. The first of ``spectral`` has 2^n bands instead.
        steps: steps of flow per scale.
        width: channels of the WaveNets.
        layers: of each WaveNet; layer n looks 2^n places far.
        embedding: width of what tells the flow σ, and mel frames.
        noise: σ_0, the noise that is always there.
        sigma_max: the greatest σ that it is trained on; 0: no noise but σ_0.
        sigma_min: the least but 0.
        clean: share of training chunks with σ = 0.
        peak: no sample of such sounds is further from 0; 0: there is no such bound.
        mels: bands of the mel frames that it is conditioned on; 0: on none.

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
    mels: int = 0

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
            and 0 < self.sample_rate < math.inf
            and 0 <= self.mels <= MOST_BANDS
        ):
            raise ValueError("these numbers make no flow")

    @property
    def factor(self) -> int:
        """Signals must be a multiple of so many samples long; each such part has one mel frame."""
        place = int(2 ** sum(self.squeezes))
        return max(place, HOP) if self.mels else place


class Flip(nn.Module):
    """Channels in reverse order, so that the next coupling moves the other half."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``sepcli.priors.flows.Transform``."""
        return x.flip(1), x.new_zeros(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """See ``sepcli.priors.flows.Transform``."""
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
            Linear(2 * half + config.mels, config.embedding),
            nn.SiLU(),
            Linear(config.embedding, config.embedding),
        )
        self.hear = MelFrames(config.mels, config.factor, config.sample_rate) if config.mels else None
        scales, splits, channels = [], [], 1
        for number, squeezes in enumerate(config.squeezes):
            channels *= 2**squeezes
            scales.append(_scale(config, channels, number))
            if number < len(config.squeezes) - 1:
                channels //= 2
                splits.append(Split(WaveNet(channels, 2 * channels, config)))
        self.layers = MultiScale(scales, splits)

    def mel_frames(self, x: Tensor) -> Tensor | None:
        """What clean sounds (..., T) are to be known by, (..., mels, T/factor); None if by nothing."""
        return None if self.hear is None else self.hear(x)

    def log_prob(self, x: Tensor, sigma: float = 0.0, mels: Tensor | None = None) -> Tensor:
        """Σ_k log p_σ(x_k).

        Args:
            x: (B, K, 1, T), sounds with noise of s(σ) in them; T is a multiple of ``config.factor``.
            sigma: σ; beyond ``config.sigma_max`` that is meant.
            mels: ``mel_frames`` of the clean sounds (B, K, T).

        Returns:
            (B,) in nats, differentiable.

        Raises:
            InputError: the signals are not of one channel and such a length, or have no mel frames.
        """
        with torch.autocast(x.device.type, enabled=False):
            return self._asked(x, x.new_tensor(sigma), mels).view(x.shape[:2]).sum(1)

    def score(self, x: Tensor, sigma: Tensor, mels: Tensor | None = None) -> Tensor:
        """∇ log p_σ at x (B, K, 1, T) for σ () and mel frames as for ``log_prob``, by autograd.

        Beyond the noise that was learnt it is that of the nearest level, rescaled.

        Raises:
            InputError: see ``log_prob``.
        """
        off_device = torch.autocast(x.device.type, enabled=False)
        with torch.inference_mode(False), torch.enable_grad(), off_device:
            free = x.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self._asked(free, sigma, mels).sum(), free)
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
            context = self._context(sigma, self.mel_frames(x))
            nats = -self.layers.log_prob(y, context).mean() / x.shape[-1]
        return nats, {"nats": float(nats.detach())}

    @torch.no_grad()
    def initialise(self, x: Tensor, rng: np.random.Generator) -> None:
        """Let every ``ActNorm`` begin at unit variance for sounds (B, T), with noise of training."""
        sigma = self._levels(len(x), rng).to(x.device)
        context = self._context(sigma, self.mel_frames(x))
        self.layers.initialise(self._noisy(x[:, None], sigma, rng), context)

    @torch.no_grad()
    def sample(
        self,
        count: int,
        length: int,
        rng: torch.Generator,
        *,
        sigma: float = 0.0,
        temperature: float = 1.0,
        mels: Tensor | None = None,
    ) -> Tensor:
        """Draw sounds.

        Args:
            count: B.
            length: T, a multiple of ``config.factor``.
            rng: on the CPU.
            sigma: of the noise in them, besides σ_0.
            temperature: the latents' standard deviation; less than 1 for likelier sounds.
            mels: ``mel_frames`` that the sounds are to have, (B, mels, T/factor).

        Returns:
            (B, T).

        Raises:
            InputError: there are no such frames.
        """
        like = self.frequencies.new_zeros(count, 1, length)
        self._check_frames(mels, (count, self.config.mels, length // self.config.factor))
        context = self._context(self._known(like.new_tensor(sigma)).expand(count), mels)
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

    def _context(self, sigma: Tensor, mels: Tensor | None = None) -> Tensor:
        """The embedding (B, E) of σ (B,), or (B, E, F) of σ and mel frames (B, M, F)."""
        angles = (self.noise_at(sigma).log() / 4)[:, None] * self.frequencies
        waves = torch.cat([angles.cos(), angles.sin()], dim=1)
        if mels is None:
            told: Tensor = self.embed(waves)
            return told
        frames = torch.cat([waves[..., None].expand(-1, -1, mels.shape[-1]), mels.to(waves) / 4], dim=1)
        every: Tensor = self.embed(frames.mT).mT
        return every

    def _asked(self, x: Tensor, sigma: Tensor, mels: Tensor | None) -> Tensor:
        """log p of every signal of x (B, K, 1, T) for σ (), (B·K,)."""
        if x.dim() != 4 or x.shape[2] != 1 or x.shape[3] % self.config.factor or not x.shape[3]:
            raise InputError(
                f"signals of shape {tuple(x.shape)} do not fit a flow of waveforms",
                f"use one channel and a length that is a multiple of {self.config.factor} samples",
            )
        self._check_frames(mels, (*x.shape[:2], self.config.mels, x.shape[3] // self.config.factor))
        rows = x.flatten(0, 1).to(self.frequencies)  # in the precision of the flow
        known = self._known(sigma).to(rows).expand(len(rows))
        return self.layers.log_prob(rows, self._context(known, None if mels is None else mels.flatten(0, 1)))

    def _check_frames(self, mels: Tensor | None, shape: tuple[int, ...]) -> None:
        """Refuse mel frames of another shape, or none, where the flow is conditioned on them; else any."""
        needed = shape if self.config.mels else None
        if needed != (None if mels is None else tuple(mels.shape)):
            told = f"mel frames of shape {shape}" if needed else "no mel frames"
            raise InputError(f"the flow needs {told}", "give what its mel_frames() gives")


def _scale(config: WaveFlowConfig, channels: int, number: int) -> Chain:
    """Make channels of time, then the steps of flow; the last scale ends in unit variance."""
    half = channels // 2
    lapped = config.variant == "spectral" and number == 0
    layers: list[nn.Module] = (
        [Lapped(channels)] if lapped else [Squeeze() for _ in range(config.squeezes[number])]
    )
    for _ in range(config.steps):
        mix = Flip() if config.variant == "flowavenet" else Invertible1x1(channels)
        layers += [ActNorm(channels, config.embedding), mix, Coupling(WaveNet(half, channels, config))]
    last = number == len(config.squeezes) - 1
    return Chain(*layers, *([ActNorm(channels, config.embedding)] if last else []))
