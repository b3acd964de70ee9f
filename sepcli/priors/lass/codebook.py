"""Nearest codes of a codebook, in memory that does not grow with the number of latents."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AT_ONCE = 1 << 24
"""Similarities, of latents times codes, that are in memory at once: 64 MB."""


class Codebook(nn.Module):
    """V codes of D dimensions; a latent's token is the code at the least Euclidean distance."""

    codebook: Tensor

    def __init__(self, vocabulary: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("codebook", torch.zeros(vocabulary, dim))

    def nearest(self, latents: Tensor) -> Tensor:
        """Latents (..., D) to tokens (...), int64."""
        return nearest(latents, self.codebook)

    def lookup(self, tokens: Tensor) -> Tensor:
        """Tokens (...) to codes (..., D)."""
        return F.embedding(tokens, self.codebook)


def nearest(latents: Tensor, codes: Tensor) -> Tensor:
    """Return argmin_v ‖h - c_v‖ for latents h (..., D) and codes (V, D): (...), int64."""
    return most_similar(2 * latents, codes, codes.float().square().sum(-1))


def most_similar(latents: Tensor, codes: Tensor, penalty: Tensor | None = None) -> Tensor:
    """Return argmax_v ⟨h, c_v⟩ - penalty_v for latents h (..., D): (...), int64.

    Codes are (V, D), penalties (V,).
    """
    rows = latents.reshape(-1, latents.shape[-1]).float()
    tokens = rows.new_empty(len(rows), dtype=torch.int64)
    at_once = max(1, AT_ONCE // len(codes))
    with torch.autocast(latents.device.type, enabled=False):  # in bfloat16 neighboring codes tie
        for start in range(0, len(rows), at_once):
            similarity = rows[start : start + at_once] @ codes.T.float()
            if penalty is not None:
                similarity -= penalty
            tokens[start : start + at_once] = similarity.argmax(-1)
    return tokens.view(latents.shape[:-1])
