"""Latent autoregressive source separation: mixture → tokens → sources, of audio and images by the same code.

The codec encodes the mixture, the sampler samples the tokens of two sources from the posterior, the codec
decodes them. A sample may be the best of several candidates by

    ‖m - Σ α_k x_k‖² / (2 s²) - Σ log p(z_k)

with s the standard deviation, per value, of the residual; without s, by the first term alone. Its latents may
be refined, and its sources moved to the nearest ones that sum to the mixture exactly and are in the range of
their medium; the true sources are in that set, so that the squared error cannot grow.

Source: Postolache et al. 2023 (LASS); for images they take the best of 512 candidates by the error alone, and
    refine it. The prior's part in the choice, and the last step, go beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sepcli.errors import InputError, UsageError
from sepcli.priors.lass.choice import candidate_seeds, least, nearest_exact, squared_error
from sepcli.priors.lass.context import ContextLikelihood, ContextTerm
from sepcli.priors.lass.latent import LatentLikelihood, LatentTerm
from sepcli.priors.lass.posterior import LassPosterior
from sepcli.priors.lass.settings import LassSettings
from sepcli.priors.lass.sweeps import PairSweeps
from sepcli.priors.lass.table import LikelihoodTable
from sepcli.priors.precision import fastest
from sepcli.protocols import Codec, ProgressCallback, TokenPrior
from sepcli.samplers.ancestral import Ancestral, Greedy
from sepcli.samplers.beam import Beam
from sepcli.samplers.construct import TokenSampler, describe_sampler
from sepcli.samplers.refinement import Refinement
from sepcli.separation.parallel import side_by_side, threads_of
from sepcli.signal.mixing import WeightedSum

SAMPLING = 0.7
"""Share of the time that tokens take where latents are refined, for the display of progress."""
SIGNALS = 16
"""Signals of audio that are decoded at once; more need memory and are not faster."""
TOKENS = 1 << 16
"""Tokens whose log-probabilities are computed at once."""


@dataclass(frozen=True)
class LassEngine:
    """Separation among tokens; fulfils ``sepcli.protocols.Engine``.

    Attributes:
        codec: signals (B, C, *D) ↔ tokens (B, L).
        prior: p(z) of the K sources side by side.
        table: p(z_m | z_1, z_2).
        sampler: greedy, ancestral or beam search.
        settings: likelihood, choice and refinement.
        names: names of the sources.
        weights: α_k of the mixing m = Σ α_k x_k.
        sample_rate: Hz; 0: images.
        device: device of codec, prior and likelihoods.
        encoded: α_k of the mixtures that the codec encodes, proportional to ``weights``; None: the same.
        channels: C.
        size: *D of the codec's signals; None: any length.
        tokens: L, of an image or of a second of audio.
        latent: p(h_m | z_1, z_2) of the mixture's latents, used where ``settings.latent`` is not 0.
        context: p(c | z_k) of the mixture around a token, used where ``settings.context`` is not 0.
        rows: hypotheses that are computed at once.
        prior_of: (indices of sources) → p(z) of these side by side, for K > 2; None: K is 2.

    Raises:
        UsageError: the weights are not positive, or not proportional to ``encoded``; of more than two sources
            they are not equal, or there is no ``prior_of``.
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
    encoded: tuple[float, ...] | None = None
    channels: int = 1
    size: tuple[int, ...] | None = None
    tokens: int = 1
    latent: LatentLikelihood | None = None
    context: ContextLikelihood | None = None
    rows: int = 1024
    prior_of: Callable[[tuple[int, ...]], TokenPrior] | None = None

    hop: ClassVar[None] = None
    density: ClassVar[None] = None
    interference_trained: ClassVar[bool] = False

    def __post_init__(self) -> None:
        weights, encoded = self.weights, self.encoded or self.weights
        two = len(weights) == 2 and math.isclose(
            weights[0] * encoded[1], weights[1] * encoded[0], rel_tol=1e-6
        )
        alike = len({*weights}) == len({*encoded}) == 1 and self.prior_of is not None
        if min(weights) > 0 and (two or (len(weights) > 2 and alike)):
            return
        shares = ":".join(f"{weight:g}" for weight in encoded)
        raise UsageError(
            f"the weights {weights} are not for LASS, which separates sources mixed {shares}, more than two"
            " with equal weights",
            "leave the weights out, or use a score prior",
            argument="weights",
        )

    @property
    def evaluations(self) -> int:
        """Evaluations of the prior per sample and source of an image, or of a second of audio."""
        hypotheses = self.sampler.width if isinstance(self.sampler, Beam) else self.settings.candidates
        moves = self.settings.sweeps * (len(self.weights) - 1) if len(self.weights) > 2 else 1
        return self.tokens * moves * (1 if isinstance(self.sampler, Greedy) else hypotheses)

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Sample the sources.

        Args:
            mixture: (B, C, *D), float32: audio in [-1, 1], or images whose sources are in [0, 1].
            seeds: (B, S) int64; a sample depends on its seed only, except with a ``shortlist``, which the
                samples of an item share. The samples of a beam are its S best hypotheses.
            on_progress: called after every token and step of refinement.

        Returns:
            (B, S, K, C, *D) on the CPU: S samples of the unweighted sources.

        Raises:
            InputError: the images are not of the codec's size.
            UsageError: the sampler keeps fewer hypotheses than S.
        """
        if self.size not in (None, tuple(mixture.shape[2:])):
            given, size = (" x ".join(map(str, shape)) for shape in (mixture.shape[2:], self.size or ()))
            raise InputError(
                f"an image of {given} pixels (height x width) is not for this prior",
                f"scale it to {size}, or use a score prior",
            )
        threads = threads_of(self.device)
        together = max(1, self.rows // (seeds.shape[1] * self.settings.candidates))
        together = min(together, -(-len(mixture) // threads))
        parts = list(zip(torch.split(mixture, together), torch.split(seeds, together), strict=True))

        def sampled(part: tuple[Tensor, Tensor], progress: ProgressCallback) -> Tensor:
            with torch.inference_mode():
                return self._sample(part[0].to(self.device), part[1], progress)

        return torch.cat(side_by_side(sampled, parts, threads, on_progress, each=1))

    def hypotheses(
        self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Tensor:
        """Propose tokens (B, N, L, 2) for mixtures (B, C, *D) on the engine's device.

        They are the candidates of S seeds, sample after sample, or a search's N ≥ S best.

        Raises:
            UsageError: a search keeps fewer than S.
        """
        posterior = self._posterior(mixture * ((self.encoded or self.weights)[0] / self.weights[0]))
        if isinstance(self.sampler, Ancestral):
            parts = torch.split(candidate_seeds(seeds, self.settings.candidates), self.rows, dim=1)
            tokens = []
            for number, part in enumerate(parts):
                progress = portion(on_progress, number / len(parts), (number + 1) / len(parts))
                tokens.append(self.sampler(posterior, part, progress).tokens)
            return torch.cat(tokens, dim=1)
        most = max(self.settings.candidates, seeds.shape[1])
        proposed = self.sampler(posterior, seeds, on_progress).tokens[:, :most]
        if proposed.shape[1] < seeds.shape[1]:
            raise UsageError(
                f"the sampler keeps {proposed.shape[1]} hypotheses, fewer than {seeds.shape[1]} samples",
                "set a larger width, or ask for fewer samples",
                argument="samples",
            )
        return proposed

    def log_prior(self, sources: Tensor) -> Tensor:
        """log p of the tokens of sources (B, K, C, *D), all together, in nats: (B,) on the CPU."""
        values, at_once = [], max(1, self.rows // len(self.weights))
        with torch.inference_mode():
            for part in torch.split(sources, at_once):
                tokens = self.codec.encode(part.to(self.device).flatten(0, 1)).view(*part.shape[:2], -1)
                few = torch.split(tokens, max(1, TOKENS // (len(self.weights) * tokens.shape[-1])))
                values += [self.prior.log_prob(rows).cpu() for rows in few]
        return torch.cat(values)

    def describe(self) -> dict[str, Any]:
        """Engine, sampler, and the settings of sampler, likelihood and choice that run."""
        name, settings = describe_sampler(self.sampler)
        return {
            "engine": "lass",
            "sampler": name,
            "settings": {**settings, **asdict(self.settings)},
            "device": str(self.device),
        }

    def _sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None) -> Tensor:
        """Samples (B, S, K, C, *D) of mixtures (B, C, *D) for seeds (B, S)."""
        progress = portion(on_progress, 0.0, SAMPLING if self.settings.refine else 1.0)
        goal = mixture / max(self.weights)
        if len(self.weights) > 2:
            tokens, _ = self._sweeps(goal, seeds, progress)
            tokens = tokens.flatten(0, 1)
        else:
            tokens = self._best(self.hypotheses(mixture, seeds, progress), goal, seeds.shape[1])
            tokens = tokens.transpose(2, 3).flatten(0, 1)  # (B·S, 2, L)
        repeated = goal.repeat_interleave(seeds.shape[1], dim=0)
        if self.settings.refine:
            refinement = Refinement(self.settings.refine, self.settings.refine_rate)
            sources = refinement(
                self.codec.lookup(tokens),
                lambda codes: self.codec.synthesise(codes)[..., : mixture.shape[-1]],
                WeightedSum(self._unit_weights),
                repeated,
                portion(on_progress, SAMPLING, 1.0),
            )
        else:
            sources = self._decode(tokens, mixture.shape[-1])
        if self.settings.exact:
            bounds = None if self.sample_rate else (0.0, 1.0)
            sources = nearest_exact(sources, repeated, self._unit_weights, bounds)
        return sources.view(*seeds.shape, *sources.shape[1:]).cpu()

    def _sweeps(
        self, goal: Tensor, seeds: Tensor, on_progress: ProgressCallback | None
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, S, K, L) and costs (B, S) of mixtures (B, C, *D) with weights 1, of K > 2 sources."""
        prior_of, weight = self.prior_of, (self.encoded or self.weights)[0]
        if prior_of is None:
            raise ValueError("more than two sources need prior_of")

        def posterior_of(both: Tensor, pair: tuple[int, int]) -> LassPosterior:
            seen = weight * both
            return self._posterior(seen if self.sample_rate else seen.clamp(0.0, 2 * weight), prior_of(pair))

        settings = self.settings
        sweeps = PairSweeps(
            self.codec,
            prior_of,
            posterior_of,
            self.sampler,
            len(self.weights),
            settings.sweeps,
            settings.chains,
            max(1, settings.candidates // settings.chains),
            settings.noise,
        )
        return sweeps(goal, seeds, on_progress)

    def _posterior(self, signal: Tensor, prior: TokenPrior | None = None) -> LassPosterior:
        """Return the posterior given mixtures as signals (B, C, *D), with the terms that the settings use."""
        latent = context = None
        uses_latents = self.latent is not None and self.settings.latent > 0
        if not uses_latents and (self.context is None or self.settings.context == 0):
            tokens = self.codec.encode(signal)
            return LassPosterior(prior or self.prior, self.table, tokens, self.settings)
        features = self.codec.features(signal)  # the encoder runs once
        latents = self.codec.project(features)
        if self.latent is not None and uses_latents:
            unit = F.normalize(latents.float(), dim=-1)
            latent = LatentTerm(self.latent, unit, self.settings.latent)
        if self.context is not None and self.settings.context > 0:
            context = ContextTerm(self.context, features, self.settings.context)
        tokens = self.codec.nearest(latents)
        return LassPosterior(prior or self.prior, self.table, tokens, self.settings, latent, context)

    def _best(self, tokens: Tensor, goal: Tensor, samples: int) -> Tensor:
        """Return the hypotheses (B, S, L, 2) of least cost among (B, N, L, 2)."""
        if self.settings.candidates == 1:
            return tokens[:, :samples]
        parts = torch.split(tokens, max(1, self.rows // len(goal)), dim=1)
        cost = torch.cat([self._costs(part, goal) for part in parts], dim=1)
        best = least(cost, samples, grouped=isinstance(self.sampler, Ancestral))
        return tokens.gather(1, best[..., None, None].expand(-1, -1, *tokens.shape[2:]))

    def _costs(self, tokens: Tensor, goal: Tensor) -> Tensor:
        """Costs (B, N) of hypotheses (B, N, L, 2) for mixtures (B, C, *D) of ``_unit_weights``."""
        rows = tokens.transpose(2, 3).flatten(0, 1)
        decoded = self._decode(rows, goal.shape[-1])
        sources = decoded.view(*tokens.shape[:2], *decoded.shape[1:])
        error, noise = squared_error(sources, goal, self._unit_weights), self.settings.noise
        if noise > 0:
            return error / (2 * noise**2) - self.prior.log_prob(rows).view_as(error)
        return error

    def _decode(self, tokens: Tensor, length: int) -> Tensor:
        """Tokens (R, K, L) to sources (R, K, C, *D) of a length in samples, or columns."""
        rows = tokens.flatten(0, 1)
        parts = torch.split(rows, SIGNALS if self.sample_rate else max(1, len(rows)))
        with fastest(self.device) if self.sample_rate else nullcontext():
            signals = torch.cat([self.codec.decode(part)[..., :length].float() for part in parts])
        return signals.reshape(*tokens.shape[:2], *signals.shape[1:])

    @property
    def _unit_weights(self) -> tuple[float, ...]:
        """The weights over the largest one: noise and refinement are on the scale of the sources."""
        return tuple(weight / max(self.weights) for weight in self.weights)


def portion(on_progress: ProgressCallback | None, start: float, stop: float) -> ProgressCallback | None:
    """Return the progress in one part of the work as progress of the whole, in thousandths."""
    if on_progress is None or (start, stop) == (0.0, 1.0):
        return on_progress
    return lambda done, steps: on_progress(int(1000 * (start + (stop - start) * done / steps)), 1000)
