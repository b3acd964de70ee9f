"""Refinement: give up the codebook, and move the latents until the decoded sources make the mixture.

    e* = argmin_e ‖m - A(dec(e_1), …, dec(e_K))‖²,    started from the codes of a token sampler

Source: Postolache et al. 2023 (LASS), section "Post-inference refinement", equations 12 and 13: 500 steps of
    gradient descent of rate 0.1 for MNIST.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor

from sepcli.protocols import Mixing, ProgressCallback
from sepcli.settings import check


@dataclass(frozen=True)
class Refinement:
    """Adam (Kingma & Ba 2015) on the latents; of every item the step is kept that makes the mixture best.

    Attributes:
        steps: number of steps; 0 only decodes.
        rate: learning rate.

    Raises:
        UsageError: a number is out of range.
    """

    steps: Annotated[int, Meta(ge=0, le=100_000)] = 500
    rate: Annotated[float, Meta(gt=0, le=1e9)] = 0.1

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self,
        latents: Tensor,
        decode: Callable[[Tensor], Tensor],
        mixing: Mixing,
        mixture: Tensor,
        on_progress: ProgressCallback | None = None,
    ) -> Tensor:
        """Refine latents (N, K, L, D) for mixtures (N, C, *D), each item for itself.

        The decoder, latents (R, L, D) to signals (R, C, *D), is differentiable. The sources (N, K, C, *D)
        explain their mixtures no worse than the latents that they started from.
        """
        with torch.inference_mode(False), torch.enable_grad():
            goal, moved = mixture.clone(), latents.detach().clone().requires_grad_()
            optimizer = torch.optim.Adam([moved], lr=self.rate)
            best, least = torch.empty(0), goal.new_full((len(goal),), torch.inf)
            for step in range(self.steps + 1):
                rows = decode(moved.flatten(0, 1))
                sources = rows.view(*moved.shape[:2], *rows.shape[1:])
                left = (goal - mixing(sources)).square().flatten(1).sum(1)
                better = left.detach() < least
                least = torch.where(better, left.detach(), least)
                mask = better.view(-1, *[1] * (sources.dim() - 1))
                decoded = sources.detach()
                best = decoded.clone() if step == 0 else torch.where(mask, decoded, best)
                if step < self.steps:
                    (moved.grad,) = torch.autograd.grad(left.sum(), moved)
                    optimizer.step()
                    if on_progress is not None:
                        on_progress(step + 1, self.steps)
        return best
