"""Encoders → the engine: no sampling, the posterior of a mixture is what networks make of it.

A card of this family names the flows that the encoders were trained with as its score priors: the engine of
scores separates by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sepcli.catalog.bounded import Files
from sepcli.catalog.network import load_network
from sepcli.errors import PriorError, UsageError
from sepcli.posterior.gaussian_sources import GaussianSources
from sepcli.priors.audio.encoders import Encoders, EncodersConfig
from sepcli.priors.noise import device_of
from sepcli.priors.selection import Selection
from sepcli.protocols import ProgressCallback
from sepcli.samplers.rng import Rng
from sepcli.signal.mixing import WeightedSum

PART = "encoders"
"""The part of a prior's folder that they are in."""


@dataclass(frozen=True)
class VariationalEngine:
    """Separation by encoders; fulfils ``sepcli.protocols.Engine``.

    Attributes:
        encoders: of K sources.
        names: of the sources.
        sample_rate: Hz.
        channels: C of the mixtures.
        evaluations: of the prior per source of a sample.
        density: there is none.
        interference_trained: whether estimates are better than masks computed from them.
    """

    encoders: Encoders
    names: tuple[str, ...]
    sample_rate: int
    channels: int = 1
    evaluations: int = 1
    density: None = None
    interference_trained: bool = False

    @property
    def weights(self) -> tuple[float, ...]:
        """The α_k of the mixing m = Σ α_k x_k."""
        return self.encoders.config.weights

    @property
    def hop(self) -> int:
        """The samples per position of the networks."""
        return self.encoders.config.factor

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return device_of(self.encoders)

    @torch.no_grad()
    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Return the mean of the posterior for one sample, else samples of it.

        Mixtures are (B, 1, T), float32, full scale 1; see ``sepcli.protocols.Engine``.
        """
        samples = seeds.shape[1]
        q = posterior(self.encoders, F.pad(mixture, (0, -mixture.shape[-1] % self.hop)))
        expected = q.expected()
        sampled = [expected.cpu()]
        if samples > 1:
            streams = [Rng(seeds[:, number]) for number in range(samples)]
            sampled = [q.sample(stream.normal(expected)).cpu() for stream in streams]
        if on_progress is not None:
            on_progress(1, 1)
        return torch.stack(sampled, dim=1)[..., : mixture.shape[-1]]

    def describe(self) -> dict[str, Any]:
        """Return the engine and its device: it has neither a sampler nor settings."""
        return {"engine": "variational", "sampler": None, "settings": {}, "device": str(self.device)}

    def log_prior(self, sources: Tensor) -> None:
        """Return None: there is no density of sources."""
        return None


def posterior(encoders: Encoders, mixture: Tensor, noise: float | None = None) -> GaussianSources:
    """Return q(x | m) of mixtures (B, 1, T) on any device, for noise s; None: the least of the training."""
    config = encoders.config
    on_device = mixture.to(next(encoders.parameters()))
    mean, std = encoders(on_device, on_device.new_tensor(noise or config.noise))
    return GaussianSources(mean, std, on_device, WeightedSum(config.weights), config.mixture_noise)


def load_encoders(folder: Files) -> Encoders:
    """Return the encoders of a prior's folder, float32 on the CPU.

    Raises:
        PriorError: they are missing or damaged.
    """
    encoders = load_network(lambda fields: Encoders(EncodersConfig(**fields)), folder / PART)
    return encoders.requires_grad_(False)


def variational_engine(selection: Selection, device: torch.device) -> VariationalEngine:
    """Make the engine of encoders.

    Raises:
        PriorError: the encoders are damaged, or of another mixture than the card's.
        UsageError: a setting is given; there is none.
    """
    for key in selection.options():
        raise UsageError(f"unknown setting '{key}'", "encoders have no settings", argument=f"settings.{key}")
    encoders = load_encoders(selection.files[0]).to(device)
    if encoders.config.weights != selection.weights:
        raise PriorError(
            f"the encoders of {selection.prior} are of another mixture than its card", "train them again"
        )
    return VariationalEngine(encoders, selection.names, selection.sample_rate)
