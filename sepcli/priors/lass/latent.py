"""p(h_m | z_1, z_2), the likelihood of the mixture's latent given the tokens of two sources.

The counted table sees the mixture through one token; the encoder's output h_m, before quantising, is a point
inside that token's cell. A small network maps the codes of z_1 and z_2 to the mean μ and the
standard deviation s of a Gaussian,

    log p(h | z_1, z_2) = -‖h - μ‖² / (2 s²) - (D - 1) log s + const

with h on the unit sphere of D dimensions, D - 1 of which are free. As ‖h‖ = 1, this is linear in h: an offset
and a slope per pair. It goes beyond LASS (Postolache et al. 2023), whose likelihood is the table alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAIRS = 1 << 11
"""Pairs that go through the network at once: so many stay in a processor's cache."""


@dataclass(frozen=True)
class LatentConfig:
    """Sizes; they are stored beside the weights.

    Attributes:
        vocabulary: V of the codec.
        code_dim: D of the codec.
        hidden: width of the two hidden layers.
    """

    vocabulary: int = 2048
    code_dim: int = 16
    hidden: int = 128


class LatentLikelihood(nn.Module):
    """The Gaussian p(h_m | z_1, z_2) over unit vectors h_m; it keeps the codec's codebook.

    Attributes:
        product_type: of the product between the hidden layers, float32 or bfloat16.
    """

    codebook: Tensor

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        self.config = config
        self.product_type = torch.float32
        self.register_buffer("codebook", torch.zeros(config.vocabulary, config.code_dim))
        self.first = nn.Linear(config.code_dim, config.hidden)
        self.second = nn.Linear(config.code_dim, config.hidden, bias=False)
        self.hidden = nn.Linear(config.hidden, config.hidden)
        self.out = nn.Linear(config.hidden, config.code_dim + 1)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of both sources, of shapes that broadcast to (...), to the mean (..., D) and log s (...)."""
        a = self.first(F.embedding(first, self.codebook))
        b = self.second(F.embedding(second, self.codebook))
        hidden = F.silu(a + b).to(self.product_type)
        weight, bias = (part.to(self.product_type) for part in (self.hidden.weight, self.hidden.bias))
        y: Tensor = self.out(F.silu(F.linear(hidden, weight, bias).float()))
        return y[..., :-1], y[..., -1].clamp(-4.0, 1.0)

    def linear(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (...) to offset (...) and slope (..., D): log p(h | ...) = offset + ⟨slope, h⟩ + const."""
        mean, log_s = self.forward(first, second)
        precision = torch.exp(-2 * log_s)
        offset = -0.5 * precision * (1 + mean.square().sum(-1)) - (mean.shape[-1] - 1) * log_s
        return offset, precision[..., None] * mean

    def log_prob(self, latent: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """log p up to a constant of unit latents (..., D), given tokens (...); (...)."""
        offset, slope = self.linear(first, second)
        return offset + (slope * latent).sum(-1)


class LatentTerm:
    """κ log p(h_m | z_1, z_2) at the observed latents, for W windows.

    Args:
        likelihood: the network, on the device of the latents.
        latents: h_m (W, L, D), unit vectors.
        power: κ.
    """

    def __init__(self, likelihood: LatentLikelihood, latents: Tensor, power: float) -> None:
        self._likelihood = likelihood
        self._latents = latents
        self._power = power
        self._offset = self._slope = torch.empty(0)

    def prepare(self, first: Tensor, second: Tensor) -> None:
        """Run the network once over the candidates (U, N) of all U slices."""
        offset, slope = self._linear(first, second, first.shape[1])
        self._offset, self._slope = offset.mul_(self._power), slope.mul_(self._power)

    def prepared(self, row: Tensor, width: int, position: int) -> Tensor:
        """Return the term at a step, for the first candidates of slices ``row`` (W,): (W, width)."""
        offset, slope = (part[:, :width].index_select(0, row) for part in (self._offset, self._slope))
        return offset + (slope @ self._latents[:, position, :, None])[..., 0]

    def fresh(self, first: Tensor, second: Tensor, position: int) -> Tensor:
        """Return the term at a step for each of r tokens (W, r) with each of r others: (W, r²)."""
        offset, slope = self._linear(first[:, :, None], second[:, None], first.shape[1] * second.shape[1])
        at = slope.flatten(1, -2) @ self._latents[:, position, :, None]
        return (offset.flatten(1) + at[..., 0]).mul_(self._power)

    def _linear(self, first: Tensor, second: Tensor, pairs: int) -> tuple[Tensor, Tensor]:
        """``LatentLikelihood.linear`` of rows of so many pairs each, some rows at a time."""
        rows = max(1, PAIRS // max(1, pairs))
        chunks = zip(torch.split(first, rows), torch.split(second, rows), strict=True)
        parts = [self._likelihood.linear(a, b) for a, b in chunks]
        offset, slope = (torch.cat(each) for each in zip(*parts, strict=True))
        return offset, slope
