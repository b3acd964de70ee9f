"""LASS for images: many separations among tokens, the best one, refined.

The sum of two images in [0, 1] is encoded as their mean. Every draw is the best of several candidates by

    ‖m - Σ α x_k‖² / (2 s²) - Σ log p(z_k)

with s the standard deviation, per value, of what the decoded candidates miss; without s, by the first term alone. Its
latents are refined, and in the end the sources are moved to the nearest ones that are in [0, 1] and make the
mixture exactly; the true sources are of that set, so the squared error cannot grow.

Source: Postolache et al. 2023 (LASS), section "Image source separation": 512 candidates for MNIST, chosen by
    the error alone. The prior's say in it, and the last step, go beyond it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.errors import InputError, UsageError
from sepcli.priors.lass.posterior import LassPosterior, LassSettings
from sepcli.priors.lass.table import LikelihoodTable
from sepcli.priors.lass.transformer import ChosenSources
from sepcli.priors.lass.vqvae2d import Vqvae2d
from sepcli.protocols import ProgressCallback
from sepcli.samplers.ancestral import Ancestral, Greedy
from sepcli.samplers.beam import Beam
from sepcli.samplers.describe import describe_sampler
from sepcli.samplers.refinement import Refinement
from sepcli.signal.mixing import WeightedSum

MOST = 100_000
"""Candidates of a draw; beyond that, they only exhaust the memory."""
MIXED = (0.5, 0.5)
"""The weights of the mixtures that the codec reads and the table is counted for."""
SUM = (1.0, 1.0)
"""The weights of the mixtures that are separated: others are scaled to them."""
SAMPLING = 0.7
"""Share of the time that tokens are taken to need, for the display of progress."""


@dataclass(frozen=True)
class LassImages:
    """Separation of images in the token domain; fulfils ``sepcli.protocols.ImageSeparator``, K = 2.

    Attributes:
        codec: images ↔ tokens.
        prior: p(z) of the two sources side by side.
        table: p(z_m | z_1, z_2), of means of two images, counted in both orders.
        sampler: greedy, ancestral or beam search.
        settings: λ, temperature and how many pairs of codes are scored.
        names: of the two sources.
        weights: α_k of the mixing m = Σ α_k x_k, both the same.
        device: where codec and prior are.
        refinement: of the latents of a draw.
        candidates: separations that every draw is the best of. A beam's best so many are compared; greedy
            search has one.
        exact: whether the sources are made to sum to the mixture, in [0, 1].
        noise: s; 0: the prior has no say in which candidate is the best.
        rows: hypotheses that are computed at once.
    """

    codec: Vqvae2d
    prior: ChosenSources
    table: LikelihoodTable
    sampler: Ancestral | Beam | Greedy
    settings: LassSettings
    names: tuple[str, ...]
    weights: tuple[float, ...]
    device: torch.device
    refinement: Refinement
    candidates: int = 512
    exact: bool = True
    noise: float = 0.0
    rows: int = 1024

    def __post_init__(self) -> None:
        if not 1 <= self.candidates <= MOST:
            raise UsageError(f"{self.candidates} candidates", f"Use 1 to {MOST:,}.")
        if not 0.0 <= self.noise < math.inf:
            raise UsageError(f"noise is {self.noise}", "Use 0 or more.")
        if len(self.weights) != 2 or self.weights[0] != self.weights[1] or self.weights[0] <= 0:
            raise UsageError(
                f"LASS separates two images of equal weight, not of weights {self.weights}",
                "Leave out --weights and --sources, or use a score prior.",
            )

    @property
    def sample_rate(self) -> int:
        """0: images have none."""
        return 0

    @property
    def density(self) -> None:
        """None: tokens have probabilities, images no density."""
        return None

    @property
    def channels(self) -> int:
        """C."""
        return self.codec.config.channels

    @property
    def evaluations(self) -> int:
        """How often the prior is asked about every source of a draw: once per token and hypothesis."""
        hypotheses = {Greedy: 1, Beam: getattr(self.sampler, "width", 1)}
        return self.codec.config.tokens * hypotheses.get(type(self.sampler), self.candidates)

    def __call__(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Draw sources.

        Args:
            mixture: (B, C, H, W), float32, of sources in [0, 1] with mixtures up to Σ α_k.
            seeds: (B, S) int64, one per item and draw; a draw depends on its own seed only, but with a
                ``shortlist``, which what is drawn together shares. Of a beam, the draws are the S best of its
                hypotheses.
            on_progress: told about progress.

        Returns:
            (B, S, 2, C, H, W) on the CPU: S draws of the unweighted sources.

        Raises:
            InputError: the images are not of the codec's size.
            UsageError: more draws are asked for than a beam has.
        """
        size = tuple(self.codec.config.size)
        if tuple(mixture.shape[2:]) != size:
            given = " x ".join(str(n) for n in mixture.shape[2:])
            raise InputError(
                f"an image of {given} pixels (height x width) is not for this prior",
                f"scale it to {size[0]} x {size[1]}, or use a score prior",
            )
        together = max(1, self.rows // (seeds.shape[1] * self.candidates))
        parts = zip(torch.split(mixture, together), torch.split(seeds, together), strict=True)
        count = -(-len(mixture) // together)
        drawn = []
        for number, (part, own) in enumerate(parts):
            told = _between(on_progress, number / count, (number + 1) / count)
            drawn.append(self._draw((part / self.weights[0]).to(self.device), own, told))
        return torch.cat(drawn)

    def log_prior(self, sources: Tensor) -> Tensor:
        """log p of the tokens of sources (B, 2, C, H, W), both together, in nats: (B,)."""
        parts = []
        with torch.inference_mode():
            for part in torch.split(sources, max(1, self.rows // 2)):
                tokens = self.codec.encode(part.to(self.device).flatten(0, 1))
                parts.append(self.prior.log_prob(tokens.view(*part.shape[:2], -1)).cpu())
        return torch.cat(parts)

    def describe(self) -> dict[str, Any]:
        """Return the sampler's name and the settings of sampler, likelihood and choice, for records."""
        name, settings = describe_sampler(self.sampler)
        chosen = {
            "candidates": self.candidates,
            "refine": self.refinement.steps,
            "refine_rate": self.refinement.rate,
            "exact": self.exact,
            "noise": self.noise,
        }
        return {"sampler": name, "settings": {**settings, **asdict(self.settings), **chosen}}

    def _draw(self, mixture: Tensor, seeds: Tensor, told: ProgressCallback | None) -> Tensor:
        """Draws (B, S, 2, C, H, W) of sums (B, C, H, W)."""
        draws = seeds.shape[1]
        with torch.inference_mode():
            tokens = self._hypotheses(mixture, seeds, _between(told, 0.0, SAMPLING))
            cost = self._costs(tokens, mixture)
            if isinstance(self.sampler, Ancestral):
                of_draw = cost.view(len(seeds), draws, -1)
                best = of_draw.argmin(-1) + torch.arange(draws, device=cost.device) * of_draw.shape[-1]
            else:
                best = cost.argsort(dim=-1, stable=True)[:, :draws]
            chosen = tokens.gather(1, best[..., None, None].expand(-1, -1, *tokens.shape[2:]))
            codes = self.codec.quantizer.lookup(chosen.transpose(2, 3)).flatten(0, 1)
        repeated = mixture.repeat_interleave(draws, dim=0)
        mixing = WeightedSum(SUM)
        refining = _between(told, SAMPLING, 1.0)
        sources = self.refinement(codes, self.codec.synthesise, mixing, repeated, refining)
        if self.exact:
            sources = nearest_exact(sources, repeated)
        return sources.view(*seeds.shape, *sources.shape[1:]).cpu()

    def _hypotheses(self, mixture: Tensor, seeds: Tensor, told: ProgressCallback | None) -> Tensor:
        """Tokens (B, N, L, 2): every draw's candidates, draw after draw, or those of a search."""
        observed = self.codec.encode(mixture / sum(SUM))
        posterior = LassPosterior(self.prior, self.table, observed, self.settings)
        if not isinstance(self.sampler, Ancestral):
            most = max(self.candidates, seeds.shape[1])
            found = self.sampler(posterior, seeds, told).tokens[:, :most]
            if found.shape[1] < seeds.shape[1]:
                raise UsageError(
                    f"the sampler keeps {found.shape[1]} hypotheses, {seeds.shape[1]} draws were asked for",
                    "widen the beam (--set width=N) or ask for fewer --samples",
                )
            return found
        parts = torch.split(candidate_seeds(seeds, self.candidates), self.rows, dim=1)
        drawn = []
        for number, part in enumerate(parts):
            own = _between(told, number / len(parts), (number + 1) / len(parts))
            drawn.append(self.sampler(posterior, part, own).tokens)
        return torch.cat(drawn, dim=1)

    def _costs(self, tokens: Tensor, mixture: Tensor) -> Tensor:
        """The cost by which hypotheses (B, N, L, 2) are compared, least for the best: (B, N)."""
        mixing, costs = WeightedSum(SUM), []
        for part in torch.split(tokens, max(1, self.rows // len(mixture)), dim=1):
            made = self.codec.decode(part.transpose(2, 3).flatten(0, 2))
            mixed = mixing(made.view(-1, 2, *made.shape[1:])).view(*part.shape[:2], *made.shape[1:])
            cost = (mixture[:, None] - mixed).square().flatten(2).sum(-1)
            if self.noise > 0:
                log_prior = self.prior.log_prob(part.transpose(2, 3).flatten(0, 1)).view_as(cost)
                cost = cost / (2 * self.noise**2) - log_prior
            costs.append(cost)
        return torch.cat(costs, dim=1)


def candidate_seeds(seeds: Tensor, candidates: int) -> Tensor:
    """Seeds (B, S) of draws to those of their candidates, (B, S · candidates); a single one keeps it."""
    if candidates == 1:
        return seeds
    rows = [
        np.random.default_rng(seed % (1 << 64)).integers(1 << 63, size=candidates)
        for seed in seeds.flatten().tolist()
    ]
    return torch.from_numpy(np.stack(rows)).view(len(seeds), -1)


def nearest_exact(sources: Tensor, total: Tensor) -> Tensor:
    """The images in [0, 1] that sum to ``total`` and are nearest to two given ones.

    Args:
        sources: (N, 2, C, H, W).
        total: (N, C, H, W); beyond [0, 2] there are none, and it is brought there.
    """
    goal = total.clamp(0.0, 2.0)
    low, high = (goal - 1.0).clamp(min=0.0), goal.clamp(max=1.0)
    first = 0.5 * (goal + sources[:, 0] - sources[:, 1])
    first = torch.minimum(torch.maximum(first, low), high)
    return torch.stack([first, goal - first], dim=1)


def _between(on_progress: ProgressCallback | None, start: float, stop: float) -> ProgressCallback | None:
    """Progress in one part of the work as progress of the whole, in thousandths."""
    if on_progress is None:
        return None
    return lambda done, steps: on_progress(int(1000 * (start + (stop - start) * done / steps)), 1000)
