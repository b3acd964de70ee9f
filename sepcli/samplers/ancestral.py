"""Samplers that only go forward: draw the next joint token, draw among the best few, or take the best.

Source: Postolache et al. 2023 (LASS), section "Inference", where all three are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.protocols import ProgressCallback, TokenPosterior
from sepcli.samplers.hypotheses import Hypotheses, best, precise, take
from sepcli.samplers.rng import Rng


@dataclass(frozen=True)
class Ancestral:
    """Independent draws, z_t ~ p(z_t | z_<t, m).

    Attributes:
        top_k: Draw among the k likeliest candidates only; None: among all.

    Raises:
        UsageError: ``top_k`` is less than 1.
    """

    top_k: int | None = None

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k is {self.top_k}", "Use 1 or more, or leave it out to draw among all.")

    def __call__(
        self, posterior: TokenPosterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Hypotheses:
        """Draw H hypotheses per window.

        Args:
            posterior: What to follow, with W windows of L steps.
            seeds: (W, H), int64, one per draw; a draw depends on its own seed only.
            on_progress: Told about progress.

        Returns:
            Tokens (W, H, L, K) in the order of the seeds.

        Raises:
            UsageError: ``seeds`` is not (W, H).
        """
        if seeds.dim() != 2 or seeds.shape[0] != posterior.windows or not seeds.shape[1]:
            raise UsageError(
                f"Seeds of shape {tuple(seeds.shape)} for {posterior.windows} windows",
                "Give every draw one seed.",
            )
        uniform = Rng(seeds.flatten()).uniform(posterior.length).view(*seeds.shape, posterior.length)
        return _forward(posterior, seeds.shape[1], self.top_k, uniform, on_progress)


@dataclass(frozen=True)
class Greedy:
    """The likeliest candidate at every step: a beam of width 1, and ``Ancestral(top_k=1)``."""

    def __call__(
        self, posterior: TokenPosterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Hypotheses:
        """Find the one greedy hypothesis of every window, and repeat it for every seed.

        Args:
            posterior: What to follow, with W windows of L steps.
            seeds: (W, H); only H is used.
            on_progress: Told about progress.

        Returns:
            Tokens (W, H, L, K), all H the same.
        """
        tokens, log_prob = _forward(posterior, 1, 1, None, on_progress)
        return Hypotheses(tokens.expand(-1, seeds.shape[1], -1, -1), log_prob.expand(-1, seeds.shape[1]))


def _forward(
    posterior: TokenPosterior,
    hypotheses: int,
    top_k: int | None,
    uniform: Tensor | None,
    on_progress: ProgressCallback | None,
) -> Hypotheses:
    """Choose token after token with the numbers ``uniform`` (W, H, L), the best one without."""
    path: list[Tensor] = []
    gained: list[Tensor] = []
    with torch.inference_mode():
        state, tokens = posterior.start(hypotheses), None
        for t in range(posterior.length):
            (candidates, score), state = posterior.step(state, tokens)
            pool = None if top_k is None else best(score, top_k)
            among = score if pool is None else score.gather(-1, pool)
            at = draw(among, None if uniform is None else uniform[..., t])
            choice = at if pool is None else pool.gather(-1, at)
            tokens = take(candidates, choice[..., 0])
            path.append(tokens)
            gained.append(score.gather(-1, choice)[..., 0])
            if on_progress is not None:
                on_progress(t + 1, posterior.length)
    log_prob = torch.stack(gained).to(precise(gained[0].device)).sum(0)
    return Hypotheses(torch.stack(path, dim=2), log_prob)


def draw(score: Tensor, uniform: Tensor | None) -> Tensor:
    """Inverse-transform sampling: the first candidate whose cumulative probability exceeds u.

    Sums run from the first candidate on, so that padding at the end adds nothing and changes nothing.

    Args:
        score: (W, H, N), log-probabilities up to a constant.
        uniform: u (W, H), in [0, 1); None: take the likeliest, the first of several.

    Returns:
        (W, H, 1), int64; where every candidate is impossible, any.
    """
    if uniform is None:
        return score.argmax(-1, keepdim=True)
    top = score.amax(-1, keepdim=True)
    mass = (score - torch.where(top > -torch.inf, top, 0.0)).exp_()
    below = mass.cumsum(-1, dtype=precise(score.device))
    goal = uniform.to(below.dtype).to(below.device)[..., None] * below[..., -1:]
    return torch.searchsorted(below, goal, right=True).clamp_(max=score.shape[-1] - 1)
