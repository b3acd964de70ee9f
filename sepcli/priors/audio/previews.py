"""Draws from a prior of sound, to be listened to."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from sepcli.atomic import MORE_SPACE, write_whole
from sepcli.errors import OutputError
from sepcli.priors.audio.load_denoisers import ladder
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.samplers.projected import Projected
from sepcli.signal.mdct import imdct


def draw_samples(
    prior: SpectralPrior, seed: int, count: int = 3, seconds: float = 4.0, steps: int = 50
) -> Tensor:
    """Unconditional draws (count, T) by ancestral sampling, on the CPU."""
    bins, length = prior.config.bins, round(seconds * prior.config.sample_rate)
    like = prior.band_std.new_empty((count, 1, 1, bins, -(-length // bins)))
    sampler = Projected(steps, **ladder([prior]), eta=None)
    seeds = torch.tensor([(seed + number) % (1 << 63) for number in range(count)])
    return imdct(sampler(_Unconditional(prior, like), seeds), length)[:, 0, 0].cpu()


@dataclass(frozen=True)
class _Unconditional:
    """A prior as a posterior without a mixture; fulfils ``sepcli.protocols.Posterior``."""

    prior: SpectralPrior
    like: Tensor

    @property
    def start(self) -> Tensor:
        return torch.zeros_like(self.like)

    def score(self, state: Tensor, sigma: Tensor) -> Tensor:
        return self.prior.score(state, sigma)

    def assess(self, state: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        return self.score(state, sigma), state.new_zeros(len(state))

    def sources(self, state: Tensor) -> Tensor:
        return state


def write_samples(folder: Path, signals: Tensor, rate: int) -> None:
    """Write signals (count, T) as ``01.flac`` and so on, each of them atomically.

    Raises:
        OutputError: they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}", MORE_SPACE) from error
    for number, signal in enumerate(signals.clamp(-1.0, 1.0), 1):
        file = io.BytesIO()
        soundfile.write(file, signal.numpy(), rate, format="FLAC", subtype="PCM_16")
        write_whole(folder / f"{number:02d}.flac", file.getvalue())
