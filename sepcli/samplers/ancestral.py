"""Samplers that only go forward: the next joint token is a sample, of all or the likeliest, or the likeliest.

Source: Postolache et al. 2023 (LASS), section "Inference", where all three are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.protocols import ProgressCallback, TokenPosterior
from sepcli.samplers.hypotheses import Hypotheses, best, precise, take
from sepcli.samplers.rng import Rng
from sepcli.settings import check


@dataclass(frozen=True)
class Ancestral:
    """Independent samples, z_t ~ p(z_t | z_<t, m).

    Attributes:
        top_k: k; only the k likeliest candidates are sampled from; None: all are.

    Raises:
        UsageError: ``top_k`` is less than 1.
    """

    top_k: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self, posterior: TokenPosterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Hypotheses:
        """Draw H hypotheses of W windows, for seeds (W, H), int64; a sample depends on its seed only.

        Raises:
            UsageError: ``seeds`` is not (W, H).
        """
        if seeds.dim() != 2 or seeds.shape[0] != posterior.windows or not seeds.shape[1]:
            raise UsageError(
                f"seeds of shape {tuple(seeds.shape)} for {posterior.windows} windows",
                "give every sample one seed",
            )
        uniform = Rng(seeds.flatten()).uniform(posterior.length).view(*seeds.shape, posterior.length)
        return _forward(posterior, seeds.shape[1], self.top_k, uniform, on_progress)


@dataclass(frozen=True)
class Greedy:
    """The likeliest candidate at every step: a beam of width 1, and ``Ancestral(top_k=1)``."""

    def __call__(
        self, posterior: TokenPosterior, seeds: Tensor, on_progress: ProgressCallback | None = None
    ) -> Hypotheses:
        """Return the one greedy hypothesis of every window, repeated for every seed (W, H)."""
        tokens, log_prob = _forward(posterior, 1, 1, None, on_progress)
        return Hypotheses(tokens.expand(-1, seeds.shape[1], -1, -1), log_prob.expand(-1, seeds.shape[1]))


def _forward(
    posterior: TokenPosterior,
    hypotheses: int,
    top_k: int | None,
    uniform: Tensor | None,
    on_progress: ProgressCallback | None,
) -> Hypotheses:
    """Choose token after token by the random numbers ``uniform`` (W, H, L); the likeliest one without."""
    path: list[Tensor] = []
    gained: list[Tensor] = []
    with torch.inference_mode():
        state, tokens = posterior.start(hypotheses), None
        for t in range(posterior.length):
            (candidates, log_prob), state = posterior.step(state, tokens)
            pool = None if top_k is None else best(log_prob, top_k)
            among = log_prob if pool is None else log_prob.gather(-1, pool)
            at = choose(among, None if uniform is None else uniform[..., t])
            choice = at if pool is None else pool.gather(-1, at)
            tokens = take(candidates, choice[..., 0])
            path.append(tokens)
            gained.append(log_prob.gather(-1, choice)[..., 0])
            if on_progress is not None:
                on_progress(t + 1, posterior.length)
    total = torch.stack(gained).to(precise(gained[0].device)).sum(0)
    return Hypotheses(torch.stack(path, dim=2), total)


def choose(log_prob: Tensor, uniform: Tensor | None) -> Tensor:
    """Inverse-transform sampling: the first candidate (W, H, 1) whose cumulative probability exceeds u.

    Sums run from the first candidate on, so that padding at the end adds nothing and changes nothing. Where
    every candidate is impossible, any is returned.

    Args:
        log_prob: (W, H, N), log-probabilities up to a constant.
        uniform: u (W, H), in [0, 1); None: take the likeliest, the first of several.
    """
    if uniform is None:
        return log_prob.argmax(-1, keepdim=True)
    top = log_prob.amax(-1, keepdim=True)
    mass = (log_prob - torch.where(top > -torch.inf, top, 0.0)).exp_()
    below = mass.cumsum(-1, dtype=precise(log_prob.device))
    goal = uniform.to(below.dtype).to(below.device)[..., None] * below[..., -1:]
    return torch.searchsorted(below, goal, right=True).clamp_(max=log_prob.shape[-1] - 1)
