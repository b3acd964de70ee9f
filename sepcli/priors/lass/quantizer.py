"""Vector quantisation with a codebook that follows the encoder by moving averages.

Latents and codes live on the unit sphere, so the nearest code is the one with the largest inner product:

    z = argmax_v ⟨h, c_v⟩,    c_v ← normalize(EMA of the latents assigned to v)

Source: van den Oord et al. 2017, "Neural Discrete Representation Learning", appendix A.1 (moving averages);
    the normalization is from Yu et al. 2022, "Vector-quantized image modeling with improved VQGAN".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.priors.lass.codebook import most_similar
from sepcli.training.distributed import ALONE, World

INITIAL_STD = 0.06
"""Standard deviation of a token's initial weights where they depend on its code."""


class VectorQuantizer(nn.Module):
    """A codebook of V unit vectors of D dimensions.

    Args:
        vocabulary: V.
        dim: D.
        decay: of the moving averages; 0.99 averages over about 100 batches.
        revive_below: codes of a smaller average use per batch are replaced by latents of the batch.
    """

    codebook: Tensor
    usage: Tensor
    sums: Tensor

    def __init__(self, vocabulary: int, dim: int, decay: float = 0.99, revive_below: float = 0.05) -> None:
        super().__init__()
        self.decay = decay
        self.revive_below = revive_below
        codes = F.normalize(torch.randn(vocabulary, dim, generator=torch.Generator().manual_seed(0)), dim=-1)
        self.register_buffer("codebook", codes)
        self.register_buffer("usage", torch.zeros(vocabulary))  # all dead: the first batch seeds the codebook
        self.register_buffer("sums", codes.clone())

    def nearest(self, latents: Tensor) -> Tensor:
        """Latents (..., D), any length, to tokens (...), int64."""
        return most_similar(latents, self.codebook)

    def lookup(self, tokens: Tensor) -> Tensor:
        """Tokens (...) to unit codes (..., D)."""
        return F.embedding(tokens, self.codebook)

    def forward(
        self, latents: Tensor, rng: torch.Generator | None = None, world: World = ALONE
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise latents (..., D), any length, with a straight-through gradient.

        While training, with ``rng``, the codebook follows, by the latents of all processes.

        Returns:
            codes (..., D) whose gradient goes to the latents, tokens (...), and the commitment loss ().
        """
        unit = F.normalize(latents.float(), dim=-1)
        tokens = self.nearest(unit)
        codes = self.lookup(tokens)
        commitment = (unit - codes.detach()).square().sum(-1).mean()
        if self.training and rng is not None:
            self.follow(latents, tokens, rng, world)
        return unit + (codes - unit).detach(), tokens, commitment

    @torch.no_grad()
    def follow(self, latents: Tensor, tokens: Tensor, rng: torch.Generator, world: World = ALONE) -> None:
        """Move the codebook towards the latents (..., D) assigned to it; revive codes that nothing uses.

        Latents are those of all processes, equally many in each; ``rng`` is the same in all.
        """
        unit = F.normalize(latents.float(), dim=-1).flatten(0, -2)
        flat = tokens.flatten()
        counts = world.sum(torch.bincount(flat, minlength=len(self.codebook)).float())
        totals = world.sum(torch.zeros_like(self.sums).index_add_(0, flat, unit))
        self.usage.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(totals, 1 - self.decay)
        dead = self.usage < self.revive_below
        chosen = torch.randint(world.size * len(unit), (len(self.codebook),), generator=rng).to(unit.device)
        revived = 5 * self.revive_below * world.take(unit, chosen)
        self.sums.copy_(torch.where(dead[:, None], revived, self.sums))
        self.usage.copy_(torch.where(dead, torch.full_like(self.usage, 5 * self.revive_below), self.usage))
        self.codebook.copy_(F.normalize(self.sums, dim=-1))


def perplexity(tokens: Tensor, vocabulary: int, world: World = ALONE) -> float:
    """Return the number of codes in effective use, in [1, V].

    It is exp of the entropy of the histogram of the tokens of all processes.
    """
    p = world.sum(torch.bincount(tokens.flatten(), minlength=vocabulary)).double()
    p = p / p.sum()
    return float(torch.exp(-(p * p.clamp_min(1e-12).log()).sum()))


def ordered_weights(codebook: Tensor, dim: int) -> Tensor:
    """Return initial weights (V, dim) of V tokens that are near each other where their codes (V, D) are.

    Similar tokens then share what they learn from the first step on. The codes are mapped by a random matrix
    from torch's global generator.
    """
    codes = codebook.detach().cpu().float()
    scale = INITIAL_STD / codes.square().sum(-1).mean().sqrt().clamp_min(1e-6)
    return scale * codes @ torch.randn(codes.shape[1], dim)
