"""A VQ-VAE for audio: one token per hop of samples.

A strided linear front end turns every hop into a vector, residual convolutions at the token rate see the
neighborhood, and the quantizer keeps one of V codes; the decoder mirrors the encoder. The training loss is

    Σ(x - x̂)² / Σx²  +  spectral · mean over resolutions of Σ||X| - |X̂|| / Σ|X|  +  commitment · ‖h - c_z‖²

with sums over the whole batch, because the same ratio per item explodes on silent items.

Source: van den Oord et al. 2017; Dhariwal et al. 2020, "Jukebox" (multi-resolution spectral loss).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.priors.lass.quantizer import VectorQuantizer, perplexity
from sepcli.training.distributed import ALONE, World

SPECTRAL_SIZES = (2048, 1024, 256)
"""Windows of the spectral loss in samples; a signal is longer than half the largest."""


@dataclass(frozen=True)
class Vqvae1dConfig:
    """Sizes of the codec; they are stored beside its weights.

    Attributes:
        sample_rate: Hz.
        hop: samples per token.
        window: samples seen by the linear front end, at least the hop.
        dim: channels at the token rate.
        encoder_dilations: one residual layer per entry.
        decoder_dilations: one residual layer per entry.
        vocabulary: V, the number of codes.
        code_dim: dimensions of a code.
        spectral: weight of the spectral loss.
        commitment: weight of the commitment loss.
    """

    sample_rate: int = 22050
    hop: int = 64
    window: int = 256
    dim: int = 256
    encoder_dilations: tuple[int, ...] = (1, 1, 1, 1, 2, 2, 4, 4)
    decoder_dilations: tuple[int, ...] = (4, 4, 2, 2, 1, 1, 1, 1)
    vocabulary: int = 2048
    code_dim: int = 16
    spectral: float = 0.25
    commitment: float = 0.25


class Residual(nn.Module):
    """x + conv(silu(x)), with a dilated kernel of three taps."""

    def __init__(self, dim: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim, dim, 3, dilation=dilation, padding=dilation)
        nn.init.normal_(self.conv.weight, std=0.5 / (3 * dim) ** 0.5)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, L) to (B, dim, L)."""
        y: Tensor = self.conv(F.silu(x))
        return x + y


class Vqvae1d(nn.Module):
    """The audio codec; fulfils ``sepcli.protocols.Codec`` for (B, 1, T) signals."""

    def __init__(self, config: Vqvae1dConfig) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = config.vocabulary
        if not 1 <= config.hop <= config.window:
            raise ValueError(f"a hop of {config.hop} samples does not fit a window of {config.window}")
        pad = (config.window - config.hop) // 2
        self.analysis = nn.Conv1d(1, config.dim, config.window, stride=config.hop, padding=pad)
        self.encoder = nn.Sequential(*(Residual(config.dim, d) for d in config.encoder_dilations))
        self.to_code = nn.Conv1d(config.dim, config.code_dim, 1)
        self.quantizer = VectorQuantizer(config.vocabulary, config.code_dim)
        self.from_code = nn.Conv1d(config.code_dim, config.dim, 1)
        self.decoder = nn.Sequential(*(Residual(config.dim, d) for d in config.decoder_dilations))
        self.synthesis = nn.ConvTranspose1d(config.dim, 1, config.window, stride=config.hop, padding=pad)

    def features(self, signal: Tensor) -> Tensor:
        """Signals (B, 1, T) to features (B, L, dim), L = ceil(T / hop); silence is appended."""
        pad = -signal.shape[-1] % self.config.hop
        x: Tensor = F.silu(self.encoder(self.analysis(F.pad(signal, (0, pad)))))
        return x.transpose(1, 2)

    def latents(self, signal: Tensor) -> Tensor:
        """Signals (B, 1, T) to latents (B, L, D) before quantising."""
        return self.project(self.features(signal))

    def project(self, features: Tensor) -> Tensor:
        """Features (B, L, dim) to latents (B, L, D)."""
        h: Tensor = self.to_code(features.transpose(1, 2))
        return h.transpose(1, 2)

    def nearest(self, latents: Tensor) -> Tensor:
        """Latents (B, L, D) to tokens (B, L), int64."""
        return self.quantizer.nearest(latents)

    def lookup(self, tokens: Tensor) -> Tensor:
        """Tokens (...) to their codes (..., D)."""
        return self.quantizer.lookup(tokens)

    def synthesise(self, codes: Tensor) -> Tensor:
        """Codes (B, L, D) to signals (B, 1, L · hop)."""
        planes = codes.to(self.from_code.weight.dtype).transpose(1, 2)
        x: Tensor = self.synthesis(F.silu(self.decoder(self.from_code(planes))))
        return x.float()

    def encode(self, signal: Tensor) -> Tensor:
        """Signals (B, 1, T) to tokens (B, ceil(T / hop)), int64."""
        return self.quantizer.nearest(self.latents(signal.to(self.analysis.weight.dtype)))

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L) to signals (B, 1, L · hop), float32."""
        return self.synthesise(self.lookup(tokens))

    def quality(self, signal: Tensor, decoded: Tensor) -> tuple[str, float]:
        """Return ``sdr``, and the median over signals (B, 1, T) of the signal-to-distortion ratio in dB."""
        error = (decoded - signal).flatten(1).square().sum(-1).clamp_min(1e-9)
        return "sdr", float(10 * torch.log10(signal.flatten(1).square().sum(-1) / error).median())

    def loss(
        self, signal: Tensor, rng: torch.Generator, world: World = ALONE
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of signals (B, 1, T), T a multiple of the hop, and figures to log.

        The figures are ``sdr`` (dB over the batch), ``perplexity`` and the loss terms. While training, the
        codebook follows. Sums over the batch are over all processes; the mean of their losses is the batch's.
        """
        codes, tokens, commitment = self.quantizer(self.latents(signal), rng, world)
        estimate = self.synthesise(codes)
        energy = world.mean(signal.square().sum()).clamp_min(1e-6)
        wave = (signal - estimate).square().sum() / energy
        spectral = spectral_distance(signal[:, 0], estimate[:, 0], world=world)
        total = wave + self.config.spectral * spectral + self.config.commitment * commitment
        figures = {
            "sdr": float(-10 * torch.log10(world.mean(wave.detach()).clamp_min(1e-9))),
            "spectral": float(spectral.detach()),
            "commitment": float(commitment.detach()),
            "perplexity": perplexity(tokens, self.config.vocabulary, world),
        }
        return total, figures


def spectral_distance(
    x: Tensor, y: Tensor, sizes: tuple[int, ...] = SPECTRAL_SIZES, world: World = ALONE
) -> Tensor:
    """Mean over STFT sizes of Σ||X| - |Y|| / Σ|X|, sums over the batch; x, y (B, T), returns ().

    Σ|X| is the mean over the processes.
    """
    terms = []
    for size in sizes:
        window = torch.hann_window(size, device=x.device)
        spectra = [torch.stft(s, size, size // 4, window=window, return_complex=True).abs() for s in (x, y)]
        terms.append((spectra[0] - spectra[1]).abs().sum() / world.mean(spectra[0].sum()).clamp_min(1e-6))
    return torch.stack(terms).mean()
