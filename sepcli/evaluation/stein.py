"""Kernel Stein discrepancy: do the samples of one posterior fit its score? No truth is needed.

    KSD² = E u(x, x'),   u = k s·s' + s·∇'k + s'·∇k + ∇·∇'k,   k(x, x') = (1 + ‖x - x'‖²/c²)^(-1/2)

for independent samples x, x' and the scores s, s' of the target there; 0 for samples of the target. The
U-statistic is compared with a wild bootstrap.

Source: Liu, Lee & Jordan 2016 and Chwialkowski et al. 2016 (discrepancy, bootstrap); Gorham & Mackey 2017
    (kernel); arXiv 2602.04189 (its use for one observation of a diffusion posterior).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sepcli.errors import UsageError

BOOTSTRAPS = 2000


class Stein(NamedTuple):
    """Discrepancy KSD², negative by chance only, and the probability of one as great under the target."""

    value: float
    p_value: float


def stein_discrepancy(states: Tensor, scores: Tensor, seed: int = 0) -> Stein:
    """Compare samples (N, ...) with a target of which ``scores`` are ∇ log p there, of the same shape.

    Raises:
        UsageError: there are fewer than 8 samples.
    """
    if len(states) < 8:
        raise UsageError(f"{len(states)} samples are too few for a test", "use 8 or more", argument="samples")
    kernel = _stein_kernel(states.flatten(1).double(), scores.flatten(1).double())
    kernel.fill_diagonal_(0.0)
    count = len(states)
    value = float(kernel.sum()) / (count * (count - 1))
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (BOOTSTRAPS, count), generator=generator).double() * 2 - 1
    null = torch.einsum("ri,ij,rj->r", signs, kernel, signs) / (count * (count - 1))
    return Stein(value, float((1 + (null >= value).sum()) / (BOOTSTRAPS + 1)))


def _stein_kernel(x: Tensor, score: Tensor) -> Tensor:
    """Return u (N, N) of samples (N, D), with c² the median of their squared distances."""
    squared, products = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square(), x @ score.T
    scale = squared[squared > 0].median().clamp(min=torch.finfo(x.dtype).tiny)
    base = 1.0 + squared / scale
    k, slope = base.rsqrt(), -(base**-1.5) / scale  # k, and its derivative by ‖x - x'‖²/2
    squares = products.diagonal()
    along = squares[:, None] + squares - products - products.T  # (x - x')·(s - s')
    trace = -slope * x.shape[1] - 3.0 * base**-2.5 * squared / scale**2
    return k * (score @ score.T) - slope * along + trace
