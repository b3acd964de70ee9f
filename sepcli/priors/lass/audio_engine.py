"""Mixture → sources: codec, prior, likelihood and sampler put together.

``LassSeparator`` is latent autoregressive source separation (Postolache et al. 2023): encode the mixture,
draw the tokens of the two sources from the posterior, decode them. ``ScoreSeparator`` is separation with any
score prior (Jayaram & Thickstun 2020, and the samplers beyond): follow the score of the posterior from noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.priors.lass.context import ContextLikelihood
from sepcli.priors.lass.latent import LatentLikelihood
from sepcli.priors.lass.likelihood_terms import ContextEvidence, LatentEvidence
from sepcli.priors.lass.posterior import LassPosterior, LassSettings
from sepcli.priors.lass.table import LikelihoodTable
from sepcli.protocols import (
    Codec,
    ProgressCallback,
    TokenPosterior,
    TokenPrior,
)
from sepcli.samplers.describe import describe_sampler
from sepcli.samplers.hypotheses import Hypotheses

TokenSampler = Callable[[TokenPosterior, Tensor, ProgressCallback | None], Hypotheses]
"""(posterior, seeds (W, H), on_progress) → at least H hypotheses per window."""


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

    def __call__(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Draw sources.

        Args:
            mixture: (B, 1, T), float32 in [-1, 1].
            seeds: (B, S) int64, one per item and draw.
            on_progress: told about progress, token by token.

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
            found = self.sampler(posterior, seeds, on_progress).tokens[:, : seeds.shape[1]]
            if found.shape[1] < seeds.shape[1]:
                raise UsageError(
                    f"the sampler keeps {found.shape[1]} hypotheses, {seeds.shape[1]} draws were asked for",
                    "widen the beam (--set width=N) or ask for fewer --samples",
                )
            rows = found.permute(0, 1, 3, 2).flatten(0, 2)  # (B·S·K, L)
            signals = self.codec.decode(rows)[..., : mixture.shape[-1]]
        return signals.reshape(*seeds.shape, len(self.names), *signals.shape[1:]).cpu()

    def describe(self) -> dict[str, Any]:
        """Return the sampler's name and the settings of sampler and likelihoods, for records."""
        name, settings = describe_sampler(self.sampler)
        return {"sampler": name, "settings": {**settings, **asdict(self.settings)}}
