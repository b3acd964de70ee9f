"""Samples of a prior of audio, for listening."""

from __future__ import annotations

import torch
from torch import Tensor

from sepcli.posterior.unconditional import Unconditional
from sepcli.priors.audio.load_denoisers import sigma_range
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.samplers.projected import Projected
from sepcli.signal.mdct import imdct


def sample_audio(
    prior: SpectralPrior, seed: int, count: int = 3, seconds: float = 4.0, steps: int = 50
) -> Tensor:
    """Generate unconditional samples (count, T) by ancestral sampling, on the CPU."""
    bins, length = prior.config.bins, round(seconds * prior.config.sample_rate)
    like = prior.band_std.new_empty((count, 1, 1, bins, -(-length // bins)))
    sampler = Projected(steps, **sigma_range([prior]), eta=None)
    seeds = torch.tensor([(seed + number) % (1 << 63) for number in range(count)])
    return imdct(sampler(Unconditional(prior, like), seeds), length)[:, 0, 0].cpu()
