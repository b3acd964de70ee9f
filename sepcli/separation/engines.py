"""Mixture → sources: codec, prior, likelihood and sampler put together.

``LassSeparator`` is latent autoregressive source separation (Postolache et al. 2023): encode the mixture,
draw the tokens of the two sources from the posterior, decode them. ``ScoreSeparator`` is separation with any
score prior (Jayaram & Thickstun 2020, and the samplers beyond): follow the score of the posterior from noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sepcli.posterior.elbo import log_density_bound
from sepcli.protocols import (
    DensityPrior,
    Posterior,
    ProgressCallback,
    Sampler,
    ScorePrior,
)
from sepcli.samplers.describe import describe_sampler


@dataclass(frozen=True)
class ScoreSeparator:
    """Separation in the signal domain; fulfils ``sepcli.protocols.Separator`` for K ≥ 2 sources.

    Attributes:
        posterior: mixtures (B, C, *D) → their posterior.
        sampler: follows its score.
        names: of the K sources.
        weights: α_k of the mixing m = Σ α_k x_k.
        device: where the prior is.
        channels: C; None: any.
        sample_rate: Hz; 0 for images.
        batch: how many draws are computed at once.
        prior: p_σ(x) of the K sources side by side; None: nothing is known of how probable sources are.
        density: the same as a density, if it is one: it ranks draws exactly.
        likelihood: the settings of posterior and networks, for records.
        scale: factor on a mixture before the posterior, which mixes with the weights scale · α_k.
    """

    posterior: Callable[[Tensor], Posterior]
    sampler: Sampler
    names: tuple[str, ...]
    weights: tuple[float, ...]
    device: torch.device
    channels: int | None = None
    sample_rate: int = 0
    batch: int = 64
    prior: ScorePrior | None = None
    density: DensityPrior | None = None
    likelihood: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0

    @property
    def evaluations(self) -> int:
        """How often the prior is asked about every source of a draw."""
        return self.sampler.evaluations

    def __call__(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Draw sources.

        Args:
            mixture: (B, C, *D), float32, in the prior's units: images in [0, 1] have mixtures up to Σ α_k.
            seeds: (B, S) int64, one per item and draw, or (B, S, Z), one per block of the last axis too (see
                ``sepcli.samplers.rng``); a draw depends on its own seeds only.
            on_progress: told about progress, evaluation by evaluation.

        Returns:
            (B, S, K, C, *D) on the CPU: S draws of the unweighted sources.
        """
        repeated = (self.scale * mixture).to(self.device).repeat_interleave(seeds.shape[1], dim=0)
        rows, parts = torch.split(repeated, self.batch), torch.split(seeds.flatten(0, 1), self.batch)
        drawn = []
        for number, (part, own) in enumerate(zip(rows, parts, strict=True)):
            posterior = self.posterior(part)
            told = None if on_progress is None else part_of(on_progress, number, len(rows))
            drawn.append(posterior.sources(self.sampler(posterior, own, told)).cpu())
        found = torch.cat(drawn)
        return found.reshape(*seeds.shape[:2], *found.shape[1:])

    def describe(self) -> dict[str, Any]:
        """Return the sampler's name and the settings of sampler and posterior, for records."""
        name, settings = describe_sampler(self.sampler)
        return {"sampler": name, "settings": {**settings, **self.likelihood}}

    def log_prior(self, sources: Tensor, sigma_max: float = 1.0, sigma_min: float = 0.05) -> Tensor | None:
        """How probable sources are.

        Args:
            sources: (B, K, C, *D).
            sigma_max: what is coarser than this noise does not count.
            sigma_min: nor what is finer.

        Returns:
            (B,) in nats: of a density log p itself, whatever the range of noise; else, up to a constant, a
            bound with the same noise for all (see ``sepcli.posterior.elbo``); None without a prior.
        """
        if self.density is not None:
            parts = torch.split(sources, self.batch)
            with torch.no_grad():
                return torch.cat([self.density.log_prob(part.to(self.device)).cpu() for part in parts])
        if self.prior is None:
            return None
        found = [
            log_density_bound(
                self.prior, part.to(self.device), sigma_max=sigma_max, sigma_min=sigma_min
            ).cpu()
            for part in torch.split(sources, self.batch)
        ]
        return torch.cat(found)


def part_of(on_progress: ProgressCallback, number: int, parts: int) -> ProgressCallback:
    """Progress in one of equal parts of the work as progress of the whole."""
    return lambda done, steps: on_progress(number * steps + done, parts * steps)
