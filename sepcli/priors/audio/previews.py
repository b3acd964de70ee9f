"""Samples of a prior of audio, for listening."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.priors.audio.load_denoisers import sigma_range
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.samplers.projected import Projected
from sepcli.signal.mdct import imdct


def draw_samples(
    prior: SpectralPrior, seed: int, count: int = 3, seconds: float = 4.0, steps: int = 50
) -> Tensor:
    """Generate unconditional samples (count, T) by ancestral sampling, on the CPU."""
    bins, length = prior.config.bins, round(seconds * prior.config.sample_rate)
    like = prior.band_std.new_empty((count, 1, 1, bins, -(-length // bins)))
    sampler = Projected(steps, **sigma_range([prior]), eta=None)
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
