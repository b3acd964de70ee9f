"""LASS with several codebooks: mixture → latents → tokens of all sources, step by step → sources.

At every step, each codebook gets the codes of one frame, as the delay pattern of the priors has it; the
levels before it have been decided for that frame, which leaves a residual of the mixture's latent.
See ``sepcli.priors.lass.residual``.

The variances s_q² come from the mixture itself: quantized level after level by the codec, it leaves so much
after level q. The levels that follow in the sources have about that much to add.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.priors.lass.encodec import EncodecCodec, quantize
from sepcli.priors.lass.musicgen import MusicgenPriors, delayed, undelayed
from sepcli.priors.lass.residual import Choose, Decisions, pair_moves
from sepcli.priors.lass.settings import CodebookSettings
from sepcli.protocols import ProgressCallback
from sepcli.samplers.ancestral import Ancestral, Greedy, choose
from sepcli.samplers.construct import describe_sampler
from sepcli.samplers.hypotheses import best
from sepcli.samplers.rng import Rng
from sepcli.separation.parallel import side_by_side


@dataclass(frozen=True)
class CodebookEngine:
    """Separation among the tokens of several codebooks; fulfils ``sepcli.protocols.Engine``.

    Attributes:
        codec: signals ↔ tokens of Q codebooks.
        priors: p(z) of the K sources side by side.
        sampler: ancestral or greedy.
        settings: likelihood and candidates.
        names: names of the sources.
        weights: α_k of the mixing m = Σ α_k x_k, positive.
        device: device of codec and priors.
        rows: samples that are computed at once.

    Raises:
        UsageError: a weight is not positive.
    """

    codec: EncodecCodec
    priors: MusicgenPriors
    sampler: Ancestral | Greedy
    settings: CodebookSettings
    names: tuple[str, ...]
    weights: tuple[float, ...]
    device: torch.device
    rows: int = 8

    channels: ClassVar[int] = 1
    hop: ClassVar[None] = None
    density: ClassVar[None] = None
    interference_trained: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if min(self.weights) <= 0:
            raise UsageError(
                f"the weights {self.weights} are not for LASS, whose latents have no sign",
                "give positive weights",
                argument="weights",
            )

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.codec.sizes.sample_rate

    @property
    def evaluations(self) -> int:
        """Evaluations of the prior per sample and source of a second of audio."""
        return -(-self.sample_rate // self.codec.sizes.hop)

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Sample the sources.

        Args:
            mixture: (B, 1, N), float32 in [-1, 1].
            seeds: (B, S) int64; a sample depends on its seed only.
            on_progress: called after every step.

        Returns:
            (B, S, K, 1, N) on the CPU: S samples of the unweighted sources.

        Raises:
            UsageError: the mixture is longer than what a prior was trained for.
        """
        self._check_length(mixture.shape[-1])
        together = max(1, self.rows // seeds.shape[1])
        parts = list(zip(torch.split(mixture, together), torch.split(seeds, together), strict=True))

        def sampled(part: tuple[Tensor, Tensor], progress: ProgressCallback) -> Tensor:
            with torch.inference_mode():
                return self._sample(part[0].to(self.device), part[1], progress)

        return torch.cat(side_by_side(sampled, parts, 1, on_progress))

    def log_prior(self, sources: Tensor) -> Tensor:
        """log p of the tokens of sources (B, K, 1, N), all together, in nats: (B,) on the CPU."""
        self._check_length(sources.shape[-1])
        values = []
        with torch.inference_mode():
            for part in torch.split(sources, max(1, self.rows // len(self.weights))):
                tokens = self.codec.encode(part.to(self.device).flatten(0, 1))
                values.append(self.priors.log_prob(tokens.view(*part.shape[:2], *tokens.shape[1:])).cpu())
        return torch.cat(values)

    def describe(self) -> dict[str, Any]:
        """Engine, sampler, and the settings of sampler and likelihood that run."""
        name, settings = describe_sampler(self.sampler)
        return {
            "engine": "lass",
            "sampler": name,
            "settings": {**settings, **asdict(self.settings)},
            "device": str(self.device),
        }

    def tokens(self, latents: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Sample tokens (R, K, Q, T), int64, given latents (R, T, D) of mixtures, for seeds (R,)."""
        codes = self.codec.codes
        start, (frames, levels) = self.priors.sizes.vocabulary, (latents.shape[1], len(codes))
        rest, variances = latents.clone(), quantize(latents, codes)[1]
        uniform = self._uniform(seeds, frames + levels - 1, levels)
        silence = torch.zeros(len(latents), len(self.weights), levels, frames, dtype=torch.int64)
        laid, caches = delayed(silence.to(latents.device), start), self.priors.start()
        weights = torch.tensor(self.weights, device=latents.device)
        for step in range(frames + levels - 1):
            log_prior = self.priors.step(caches, laid[..., step]) / self.settings.temperature
            active = [level for level in range(levels) if 0 <= step - level < frames]
            at = [step - level for level in active]
            decisions = Decisions(
                rest[:, at],
                log_prior[:, :, active].transpose(1, 2),
                codes[active],
                weights,
                self.settings.lam / variances[:, active],
            )
            chosen, rest[:, at] = decisions.decide(
                self.settings.shortlist,
                self.settings.sweeps,
                self._chooser(None if uniform is None else uniform[:, step, active]),
            )
            laid[:, :, active, step + 1] = chosen.transpose(1, 2)
            if on_progress is not None:
                on_progress(step + 1, frames + levels - 1)
        rows = undelayed(laid[..., 1:].flatten(0, 1))
        return rows.view(len(latents), -1, levels, frames)

    def _sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None) -> Tensor:
        """Samples (B, S, K, 1, N) of mixtures (B, 1, N) for seeds (B, S)."""
        latents = self.codec.latents(mixture).repeat_interleave(seeds.shape[1], dim=0)
        tokens = self.tokens(latents, seeds.flatten(), on_progress)
        signals = torch.cat([self.codec.decode(row) for row in tokens])[..., : mixture.shape[-1]]
        return signals.view(*seeds.shape, -1, *signals.shape[1:]).float().cpu()

    def _uniform(self, seeds: Tensor, steps: int, levels: int) -> Tensor | None:
        """Return the random numbers (R, steps, Q, decisions) of ancestral sampling."""
        if isinstance(self.sampler, Greedy):
            return None
        moves = len(pair_moves(len(self.weights), self.settings.sweeps))
        return Rng(seeds).uniform(steps, levels, moves)

    def _chooser(self, uniform: Tensor | None) -> Choose:
        """Return what chooses candidates by random numbers (R, A, decisions); None: the likeliest."""
        top_k = self.sampler.top_k if isinstance(self.sampler, Ancestral) else 1

        def chosen(log_prob: Tensor, move: int) -> Tensor:
            pool = None if top_k is None else best(log_prob, top_k)
            among = log_prob if pool is None else log_prob.gather(-1, pool)
            at = choose(among, None if uniform is None else uniform[..., move])
            return (at if pool is None else pool.gather(-1, at))[..., 0]

        return chosen

    def _check_length(self, samples: int) -> None:
        """Refuse signals of more frames than the priors have positions: UsageError."""
        hop = self.codec.sizes.hop
        most = self.priors.context - self.codec.codebooks + 1
        if -(-samples // hop) > most:
            raise UsageError(
                f"{samples / self.sample_rate:.3g} s at once are longer than what a prior was trained for",
                f"set a window of at most {int(100 * (most - 1) * hop / self.sample_rate) / 100:g} s",
                argument="settings.window",
            )
