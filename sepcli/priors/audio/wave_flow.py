"""A normalizing flow of waveforms: log p(x) of one kind of audio at every noise level, and hence its score.

    y = x + s(σ) ε,   s(σ)² = σ² + σ_0²,   ε ~ N(0, I)                   what is modelled
    nats = -log p_σ(y)/T                                                 per sample
    loss = nats + w · error of denoising                                 see sepcli.priors.flows

Units: full scale is 1, log_prob is in nats per signal of T samples; tables show it divided by T. σ_0 is noise
that is always present: without it, exactly periodic waves have no density. A larger σ_0 gives a smoother
density (the noise augmentation of the thesis). Beyond σ_0 a single flow is conditioned on σ through its
networks and its ``ActNorm``s, as in ``sepcli.priors.images.glow``; with ``sigma_max`` = 0 it is trained at
σ_0 only.

Four variants. Three of couplings differ in the definition of channels and their mixing between couplings:

    flowavenet    couplings transform the even and the odd samples alternately: channels are flipped
    waveglow      channels are mixed by a learned invertible matrix, after several squeezes
    spectral      as waveglow, but channels are bands and positions are frames of the MDCT, which is
                  orthogonal, so that log p is still a density of samples
    tarflow       patches of samples are predicted one after the other; see ``sepcli.priors.tarflow``

Samples become channels by squeezing, in the first scale of ``spectral`` by the transform. The couplings are
non-causal WaveNets. Everything is computed in float32, because the residual of a predictable wave is as small
as σ_0. The weights of the WaveNets are stored in bfloat16, without loss of likelihood on toy waves.

With ``mels`` > 0 the flow is conditioned on mel frames of the clean audio: p_σ(y | mel(x)), with which
``sample`` is a vocoder. It cannot separate, because the mel frames of the sources of a mixture are unknown.

Source: Kim et al. 2019 (FloWaveNet); Prenger et al. 2019 (WaveGlow); Malvar 1992 (lapped transforms);
    Perez et al. 2018 (FiLM); Frank 2020, the thesis with these priors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sepcli.errors import InputError
from sepcli.priors.audio.mel import HOP, MAX_BANDS, MelFrames
from sepcli.priors.audio.wavenet import MAX_LAYERS, WaveNet
from sepcli.priors.flows import Chain, MultiScale, Split, density_and_error, score_of
from sepcli.priors.noise import NoiseEmbedding, noise_rows, noise_seeds, stratified_sigmas, without_variance
from sepcli.priors.tarflow import TarFlow, with_level
from sepcli.priors.transforms import ActNorm, Coupling, Flip, Invertible1x1, Lapped, Linear, Squeeze

VARIANTS = ("flowavenet", "waveglow", "spectral", "tarflow")
HEADS, MAX_PATCH, MAX_DEPTH = 2, 4096, 256
"""Attention heads of ``tarflow``, its longest patch or reach, and its greatest number of layers."""
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
    "tarflow": {
        "tiny": {"patch": 8, "depths": (1, 1), "width": 8, "embedding": 4, "reach": 4},
        "small": {"patch": 32, "depths": (3, 1), "width": 56, "embedding": 32, "reach": 64},
        "base": {"patch": 32, "depths": (6, 2, 2), "width": 256, "embedding": 64, "reach": 128},
    },
}
"""Variant → sizes: ``small`` for ten minutes on two CPU cores, ``base`` for a GPU, ``tiny`` for tests."""


@dataclass(frozen=True)
class WaveFlowConfig:
    """Architecture and noise levels; stored beside the weights.

    Attributes:
        sample_rate: Hz.
        variant: one of ``VARIANTS``.
        squeezes: number of halvings of the time axis per scale; half of the channels are factored out after
            each scale but the last. The first scale of ``spectral`` has 2^n bands instead.
        steps: steps of flow per scale.
        width: channels of the WaveNets.
        layers: layers of each WaveNet; the dilation of layer n is 2^n positions.
        patch: samples of a patch of ``tarflow``, which has neither squeezes nor steps nor layers of these.
        depths: layers of the transformer of each block of ``tarflow``.
        reach: patches that one of its layers attends to.
        embedding: width of the embedding of σ and mel frames.
        noise: σ_0, the noise that is always present.
        sigma_max: greatest σ of training; 0: σ_0 only.
        sigma_min: least σ > 0 of training.
        clean: fraction of training chunks with σ = 0.
        peak: greatest absolute value of a sample; 0: unbounded.
        mels: number of bands of the mel frames that the flow is conditioned on; 0: unconditional.
        denoising: w, weight of the error of denoising in the loss.

    Raises:
        ValueError: The variant is unknown, or a value is out of range.
    """

    sample_rate: int = 14_700
    variant: str = "waveglow"
    squeezes: tuple[int, ...] = (3, 1)
    steps: int = 6
    width: int = 32
    layers: int = 6
    patch: int = 32
    depths: tuple[int, ...] = (3, 1)
    reach: int = 64
    embedding: int = 32
    noise: float = 1e-3
    sigma_max: float = 1.0
    sigma_min: float = 2e-3
    clean: float = 0.1
    peak: float = 0.0
    mels: int = 0
    denoising: float = 0.0

    def __post_init__(self) -> None:
        squeezes = min(self.squeezes, default=0) >= 1 and sum(self.squeezes) <= MAX_LAYERS
        sizes = min(self.steps, self.width, self.layers) >= 1 and self.embedding >= 2
        patches = self.variant != "tarflow" or not (self.width % (2 * HEADS) or self.mels)
        levels = self.noise > 0 and (self.sigma_max == 0 or 0 < self.sigma_min < self.sigma_max < math.inf)
        if not (
            self.variant in VARIANTS
            and squeezes
            and sizes
            and patches
            and 1 <= min(self.patch, self.reach) <= max(self.patch, self.reach) <= MAX_PATCH
            and 1 <= min(self.depths, default=0) <= sum(self.depths) <= MAX_DEPTH
            and self.layers <= MAX_LAYERS
            and levels
            and 0 <= self.clean <= 1
            and self.peak >= 0
            and 0 < self.sample_rate < math.inf
            and 0 <= self.mels <= MAX_BANDS
        ):
            raise ValueError("a value of the flow's config is out of range")

    @property
    def factor(self) -> int:
        """The length of signals must be a multiple of this number of samples; each part has one mel frame."""
        factor = self.patch if self.variant == "tarflow" else int(2 ** sum(self.squeezes))
        return max(factor, HOP) if self.mels else factor


class WaveFlow(nn.Module):
    """p(x) of audio; fulfils ``sepcli.protocols.ScorePrior`` and ``DensityPrior``, for all sources."""

    has_variance = False
    moments = without_variance
    sigma_min = 0.0
    """Least noise level of training."""

    def __init__(self, config: WaveFlowConfig) -> None:
        super().__init__()
        self.config, self.sigma_max = config, config.sigma_max
        self.embed = NoiseEmbedding(config.embedding, 1.0, config.mels, Linear)
        self.hear = MelFrames(config.mels, config.factor, config.sample_rate) if config.mels else None
        self.layers = _patches(config) if config.variant == "tarflow" else _scales(config)

    def mel_frames(self, x: Tensor) -> Tensor | None:
        """Return the mel frames (..., mels, T/factor) of clean audio (..., T); None without conditioning."""
        return None if self.hear is None else self.hear(x)

    def log_prob(self, x: Tensor, sigma: float = 0.0, mels: Tensor | None = None) -> Tensor:
        """Return Σ_k log p_σ(x_k), (B,) in nats, differentiable; σ is clipped at ``config.sigma_max``.

        Args:
            x: (B, K, 1, T), audio with noise of s(σ); T is a multiple of ``config.factor``.
            sigma: σ.
            mels: ``mel_frames`` of the clean audio (B, K, T).

        Raises:
            InputError: The signals have several channels or another length, or mel frames are missing.
        """
        with torch.autocast(x.device.type, enabled=False):
            return self._log_prob(x, x.new_tensor(sigma), mels).view(x.shape[:2]).sum(1)

    def score(self, x: Tensor, sigma: Tensor, mels: Tensor | None = None) -> Tensor:
        """Return ∇ log p_σ at x (B, K, 1, T) for σ () and mel frames as for ``log_prob``, by autograd.

        Beyond the noise levels of training it is that of the nearest one, rescaled.
        """
        gradient = score_of(lambda variable: self._log_prob(variable, sigma, mels), x)
        ratio = self.noise_at(sigma.clamp(max=self.sigma_max)) / self.noise_at(sigma)
        return gradient * ratio.to(gradient)

    def loss(self, x: Tensor, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of the module's docstring of clean audio (B, T), and its figures."""
        return self.batch_loss(x, self.training_sigmas(len(x), rng), noise_seeds(len(x), rng))

    def batch_loss(
        self, x: Tensor, sigma: Tensor, seeds: NDArray[np.int64]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the same for given σ (B,) and seeds (B,) of the noise."""
        sigma = sigma.to(x.device)
        with torch.autocast(x.device.type, enabled=False):
            clean, noise = x[:, None], self._noise(x[:, None], sigma, seeds)
            context, weight = self.context(sigma, self.mel_frames(x)), self.config.denoising
            if not weight:
                nats = -self.layers.log_prob(clean + noise, context).mean() / x.shape[-1]
                return nats, {"nats": float(nats.detach())}
            log_prob, error = density_and_error(
                lambda y: self.layers.log_prob(y, context), clean, noise, self.noise_at(sigma)
            )
        nats = -log_prob.mean() / x.shape[-1]
        return nats + weight * error, {"nats": float(nats.detach()), "denoising": float(error.detach())}

    @torch.no_grad()
    def initialize(self, x: Tensor, rng: np.random.Generator) -> None:
        """Initialize every ``ActNorm`` to unit variance on audio (B, T) with the noise of training."""
        sigma = self.training_sigmas(len(x), rng).to(x.device)
        context = self.context(sigma, self.mel_frames(x))
        self.layers.initialize(self.noisy(x[:, None], sigma, noise_seeds(len(x), rng)), context)

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
        """Sample audio (B, T).

        Args:
            count: B.
            length: T, a multiple of ``config.factor``.
            rng: on the CPU.
            sigma: standard deviation of the noise in the samples, besides σ_0.
            temperature: standard deviation of the latents; less than 1 for more probable audio.
            mels: ``mel_frames`` of the audio (B, mels, T/factor), the condition.
        """
        like = self.embed.frequencies.new_zeros(count, 1, length)
        self._check_frames(mels, (count, self.config.mels, length // self.config.factor))
        context = self.context(like.new_tensor(min(sigma, self.sigma_max)).expand(count), mels)
        return self.layers.sample(like, context, rng, temperature)[:, 0]

    def noise_at(self, sigma: Tensor) -> Tensor:
        """Return s(σ), the standard deviation of the total noise."""
        return (sigma.square() + self.config.noise**2).sqrt()

    def noisy(self, x: Tensor, sigma: Tensor, seeds: NDArray[np.int64]) -> Tensor:
        """Add noise of s(σ) to signals (B, 1, T) for σ (B,) and seeds (B,)."""
        return x + self._noise(x, sigma, seeds)

    def training_sigmas(self, count: int, rng: np.random.Generator) -> Tensor:
        """Return random σ (B,) of training, stratified in ln σ."""
        config = self.config
        if config.sigma_max == 0:
            return torch.zeros(count)
        return stratified_sigmas(count, config.sigma_min, config.sigma_max, config.clean, rng)

    def context(self, sigma: Tensor, mels: Tensor | None = None) -> Tensor:
        """Return the embedding (B, E) of σ (B,), or (B, E, F) of σ and mel frames (B, M, F).

        Of ``tarflow`` it is behind the level itself, (B, 1 + E).
        """
        noise = self.noise_at(sigma)
        embedding: Tensor = self.embed(noise, None if mels is None else mels / 4)
        return with_level(noise, embedding) if isinstance(self.layers, TarFlow) else embedding

    def _noise(self, x: Tensor, sigma: Tensor, seeds: NDArray[np.int64]) -> Tensor:
        """Return noise of s(σ) like signals (B, 1, T), for σ (B,) and seeds (B,)."""
        return self.noise_at(sigma)[:, None, None] * noise_rows(x, seeds)

    def _log_prob(self, x: Tensor, sigma: Tensor, mels: Tensor | None) -> Tensor:
        """Return log p_σ (B·K,) of every signal of x (B, K, 1, T) for σ ()."""
        if x.dim() != 4 or x.shape[2] != 1 or x.shape[3] % self.config.factor or not x.shape[3]:
            raise InputError(
                f"signals of shape {tuple(x.shape)} do not fit a flow of waveforms",
                f"use one channel and a length that is a multiple of {self.config.factor} samples",
            )
        self._check_frames(mels, (*x.shape[:2], self.config.mels, x.shape[3] // self.config.factor))
        rows = x.flatten(0, 1).to(self.embed.frequencies)  # the dtype of the flow
        level = sigma.clamp(max=self.sigma_max).to(rows).expand(len(rows))
        return self.layers.log_prob(rows, self.context(level, None if mels is None else mels.flatten(0, 1)))

    def _check_frames(self, mels: Tensor | None, shape: tuple[int, ...]) -> None:
        """Check that mel frames have the shape ``shape``, or are None if the flow is unconditional."""
        needed = shape if self.config.mels else None
        if needed != (None if mels is None else tuple(mels.shape)):
            expected = f"mel frames of shape {shape}" if needed else "no mel frames"
            raise InputError(f"the flow needs {expected}", "use the output of its mel_frames()")


def _network(config: WaveFlowConfig, half: int) -> WaveNet:
    """Return the network of a coupling of 2 · ``half`` channels."""
    return WaveNet(half, 2 * half, width=config.width, layers=config.layers, embedding=config.embedding)


def _patches(config: WaveFlowConfig) -> TarFlow:
    """Return the flow of patches of samples."""
    return TarFlow(
        1,
        (config.patch,),
        width=config.width,
        depths=config.depths,
        heads=HEADS,
        embedding=config.embedding,
        reach=config.reach,
    )


def _scales(config: WaveFlowConfig) -> MultiScale:
    """Return the flow of scales; half of the channels are factored out after each but the last."""
    scales, splits, channels = [], [], 1
    for number, squeezes in enumerate(config.squeezes):
        channels *= 2**squeezes
        scales.append(_scale(config, channels, number))
        if number < len(config.squeezes) - 1:
            channels //= 2
            splits.append(Split(_network(config, channels)))
    return MultiScale(scales, splits)


def _scale(config: WaveFlowConfig, channels: int, number: int) -> Chain:
    """Return one scale: squeezes and the steps of flow; the last scale ends with an ``ActNorm``."""
    lapped = config.variant == "spectral" and number == 0
    layers: list[nn.Module] = (
        [Lapped(channels)] if lapped else [Squeeze() for _ in range(config.squeezes[number])]
    )
    for _ in range(config.steps):
        mix = Flip() if config.variant == "flowavenet" else Invertible1x1(channels)
        layers += [ActNorm(channels, config.embedding), mix, Coupling(_network(config, channels // 2))]
    last = number == len(config.squeezes) - 1
    return Chain(*layers, *([ActNorm(channels, config.embedding)] if last else []))
