"""Hypotheses, which samplers of tokens return; ranking of candidates, as all of them need it."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 32
"""Candidates per block of ``best``."""


class Hypotheses(NamedTuple):
    """H separations of every window, as tokens."""

    tokens: Tensor
    """(W, H, L, K), int64."""
    log_prob: Tensor
    """(W, H), float64: the log-posterior of all tokens, up to a constant of the window; -inf: impossible."""


def best(values: Tensor, k: int) -> Tensor:
    """Return where the k highest values are, highest first; of equal values the first comes first.

    Equal values are common (exchangeable sources), and their order must depend neither on padding nor on the
    batch, which ``torch.topk`` does not promise. Only the k blocks with the highest maxima are looked into:
    each of the k best lies in one of them.

    Args:
        values: (..., N), compared in float32.
        k: at most N are returned: (..., min(k, N)), int64.
    """
    k = min(k, values.shape[-1])
    if values.shape[-1] <= 2 * k * BLOCK:
        return _ranked(values, k)
    padded = F.pad(values, (0, -values.shape[-1] % BLOCK), value=-torch.inf)
    blocks = padded.reshape(*values.shape[:-1], -1, BLOCK)
    chosen = _ranked(blocks.amax(-1), k).sort(-1).values
    inside = blocks.gather(-2, chosen[..., None].expand(*chosen.shape, BLOCK)).flatten(-2)
    at = _ranked(inside, k)
    return chosen.gather(-1, at // BLOCK) * BLOCK + at % BLOCK


def take(tokens: Tensor, choice: Tensor) -> Tensor:
    """Joint tokens (W, N, K) at the candidates ``choice`` (W, H): (W, H, K)."""
    return tokens.gather(1, choice[..., None].expand(-1, -1, tokens.shape[-1]))


def precise(device: torch.device) -> torch.dtype:
    """The widest floating-point type of a device, for sums over many steps or candidates."""
    return torch.float32 if device.type == "mps" else torch.float64


def _ranked(values: Tensor, k: int) -> Tensor:
    """``best`` by one sort key per value: its bits in rising order, above its reversed index."""
    n = values.shape[-1]
    bits = (values.float() + 0.0).view(torch.int32)  # + 0.0 makes -0.0 equal 0.0
    rising = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(torch.int64)
    key = (rising << 32) + torch.arange(n - 1, -1, -1, device=values.device)
    return key.topk(k, dim=-1).indices
