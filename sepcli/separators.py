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
import torch.nn.functional as F
from torch import Tensor

from sepcli.context import ContextLikelihood
from sepcli.errors import UsageError
from sepcli.latent import LatentLikelihood
from sepcli.posterior import ContextEvidence, LassPosterior, LassSettings, LatentEvidence
from sepcli.priors.bound import log_density_bound
from sepcli.protocols import (
    Codec,
    DensityPrior,
    OnStep,
    Posterior,
    Sampler,
    ScorePrior,
    TokenPosterior,
    TokenPrior,
)
from sepcli.samplers.hypotheses import Hypotheses
from sepcli.table import LikelihoodTable

TokenSampler = Callable[[TokenPosterior, Tensor, OnStep | None], Hypotheses]
"""(posterior, seeds (W, H), on_step) → at least H hypotheses per window."""


@dataclass(frozen=True)
class LassSeparator:
    """Separation in the token domain; fulfils ``sepcli.protocols.Separator`` for K = 2 sources.

    Attributes:
        codec: signals (B, 1, T) ↔ tokens (B, L).
        prior: p(z) of the two sources side by side.
        table: p(z_m | z_1, z_2).
        sampler: greedy, ancestral or beam search.
        settings: λ, temperature and how many candidates are scored.
        names: of the two sources.
        weights: α_k of the mixing m = Σ α_k x_k.
        sample_rate: Hz.
        device: where codec, prior and likelihoods are.
        latent: p(h_m | z_1, z_2) of the mixture's latents, used when ``settings.latent`` is not 0.
        context: p(c | z_k) of the mixture around a token, used when ``settings.context`` is not 0.
    """

    codec: Codec
    prior: TokenPrior
    table: LikelihoodTable
    sampler: TokenSampler
    settings: LassSettings
    names: tuple[str, ...]
    weights: tuple[float, ...]
    sample_rate: int
    device: torch.device
    latent: LatentLikelihood | None = None
    context: ContextLikelihood | None = None

    def __call__(self, mixture: Tensor, seeds: Tensor, on_step: OnStep | None = None) -> Tensor:
        """Draw sources.

        Args:
            mixture: (B, 1, T), float32 in [-1, 1].
            seeds: (B, S) int64, one per item and draw.
            on_step: told about progress, token by token.

        Returns:
            (B, S, 2, 1, T) on the CPU: S draws of the unweighted sources; for a beam, its S best hypotheses.

        Raises:
            UsageError: more draws are asked for than the sampler gives.
        """
        with torch.inference_mode():
            signal = mixture.to(self.device)
            tokens = self.codec.encode(signal)
            latent = context = None
            if self.latent is not None and self.settings.latent > 0:
                latents = F.normalize(self.codec.latents(signal).float(), dim=-1)
                latent = LatentEvidence(self.latent, latents, self.settings.latent)
            if self.context is not None and self.settings.context > 0:
                context = ContextEvidence(self.context, self.codec.features(signal), self.settings.context)
            posterior = LassPosterior(self.prior, self.table, tokens, self.settings, latent, context)
            found = self.sampler(posterior, seeds, on_step).tokens[:, : seeds.shape[1]]
            if found.shape[1] < seeds.shape[1]:
                raise UsageError(
                    f"the sampler keeps {found.shape[1]} hypotheses, {seeds.shape[1]} draws were asked for",
                    "widen the beam (--set width=N) or ask for fewer --samples",
                )
            rows = found.permute(0, 1, 3, 2).flatten(0, 2)  # (B·S·K, L)
            signals = self.codec.decode(rows)[..., : mixture.shape[-1]]
        return signals.reshape(*seeds.shape, len(self.names), *signals.shape[1:]).cpu()


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
        sample_rate: Hz; 0 for pictures.
        batch: how many draws are computed at once.
        prior: p_σ(x) of the K sources side by side; None: nothing is known of how probable sources are.
        density: the same as a density, if it is one: it ranks draws exactly.
        likelihood: the settings of the posterior, for records.
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

    def __call__(self, mixture: Tensor, seeds: Tensor, on_step: OnStep | None = None) -> Tensor:
        """Draw sources.

        Args:
            mixture: (B, C, *D), float32, in the prior's units: pictures in [0, 1] have mixtures up to Σ α_k.
            seeds: (B, S) int64, one per item and draw, or (B, S, Z), one per block of the last axis too (see
                ``sepcli.samplers.rng``); a draw depends on its own seeds only.
            on_step: told about progress, evaluation by evaluation.

        Returns:
            (B, S, K, C, *D) on the CPU: S draws of the unweighted sources.
        """
        repeated = (self.scale * mixture).to(self.device).repeat_interleave(seeds.shape[1], dim=0)
        rows, parts = torch.split(repeated, self.batch), torch.split(seeds.flatten(0, 1), self.batch)
        drawn = []
        for number, (part, own) in enumerate(zip(rows, parts, strict=True)):
            posterior = self.posterior(part)
            told = None if on_step is None else part_of(on_step, number, len(rows))
            drawn.append(posterior.sources(self.sampler(posterior, own, told)).cpu())
        found = torch.cat(drawn)
        return found.reshape(*seeds.shape[:2], *found.shape[1:])

    def log_prior(self, sources: Tensor, sigma_max: float = 1.0, sigma_min: float = 0.05) -> Tensor | None:
        """How probable sources are.

        Args:
            sources: (B, K, C, *D).
            sigma_max: what is coarser than this noise does not count.
            sigma_min: nor what is finer.

        Returns:
            (B,) in nats: of a density log p itself, whatever the range of noise; else, up to a constant, a
            bound with the same noise for all (see ``sepcli.priors.bound``); None without a prior.
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


def part_of(on_step: OnStep, number: int, parts: int) -> OnStep:
    """Progress in one of equal parts of the work as progress of the whole."""
    return lambda done, steps: on_step(number * steps + done, parts * steps)
