"""Beam search (Reddy 1977) for the likeliest sequence; windows × beams are one batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor

from sepcli.protocols import ProgressCallback, TokenPosterior
from sepcli.samplers.hypotheses import Hypotheses, best, precise, take
from sepcli.settings import check


@dataclass(frozen=True)
class Beam:
    """Keep the ``width`` best prefixes of every window; as wide as there are sequences, it is exhaustive.

    Attributes:
        width: H, prefixes kept after every step.

    Raises:
        UsageError: ``width`` is less than 1.
    """

    width: Annotated[int, Meta(ge=1, le=100_000)] = 16

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self,
        posterior: TokenPosterior,
        seeds: Tensor | None = None,
        on_progress: ProgressCallback | None = None,
    ) -> Hypotheses:
        """Search every window; return ``width`` hypotheses, best first, those beyond the last with -inf.

        The beam starts as one empty prefix and grows to its width. Log-probabilities are kept relative to the
        best of the window, so that float32 resolves them however long the sequence is. Nothing is random:
        seeds are not used.
        """
        trail: list[tuple[Tensor, Tensor]] = []
        relative = torch.zeros(posterior.windows, 1)
        passed: list[Tensor] = []
        with torch.inference_mode():
            state, tokens = posterior.start(1), None
            for t in range(posterior.length):
                (candidates, log_prob), state = posterior.step(state, tokens)
                joint = (log_prob + relative.to(log_prob.device)[..., None]).flatten(1)
                chosen = best(joint, self.width)
                parents, choice = chosen // log_prob.shape[-1], chosen % log_prob.shape[-1]
                tokens = take(candidates, choice)
                trail.append((parents, tokens))
                relative = joint.gather(1, chosen)
                top = relative[:, :1]
                passed.append(torch.where(top > -torch.inf, top, 0.0))  # 0: all are impossible
                relative = relative - passed[-1]
                if t + 1 < posterior.length:
                    state = posterior.select(state, parents)
                if on_progress is not None:
                    on_progress(t + 1, posterior.length)
        exact = precise(relative.device)
        total = torch.stack(passed).to(exact).sum(0) + relative.to(exact)
        return _fill(Hypotheses(_trace(trail), total), self.width)


def _trace(trail: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Follow back-pointers from the last step to the first: tokens (W, H, L, K)."""
    last = trail[-1][0]
    line = torch.arange(last.shape[1], device=last.device).expand(last.shape)
    path: list[Tensor] = []
    for parents, tokens in reversed(trail):
        path.append(take(tokens, line))
        line = parents.gather(1, line)
    return torch.stack(path[::-1], dim=2)


def _fill(hypotheses: Hypotheses, width: int) -> Hypotheses:
    """Repeat the best hypothesis with log-probability -inf up to ``width``."""
    missing = width - hypotheses.log_prob.shape[1]
    if missing == 0:
        return hypotheses
    tokens = torch.cat([hypotheses.tokens, hypotheses.tokens[:, :1].expand(-1, missing, -1, -1)], dim=1)
    return Hypotheses(tokens, torch.nn.functional.pad(hypotheses.log_prob, (0, missing), value=-torch.inf))
