"""p(c | z_k), the likelihood of the mixture around a token of one source.

The counted table rates a pair of tokens by the mixture's token of the same instant alone; a network reads the
codec's features c of the mixture on both sides of token t and classifies the token of every source. Its
posterior over the marginal is, by Bayes' rule, a likelihood up to a factor without z,

    log p(c | z_k) = log q_k(z_k | c) - log p_k(z_k) + const

the scaled likelihood of hybrid speech recognizers. As the table and the latent likelihood, it learns from
random pairs of clean sources. It goes beyond LASS (Postolache et al. 2023), whose likelihood is the table.

Source: Bourlard & Morgan 1994, "Connectionist Speech Recognition: A Hybrid Approach" (scaled likelihoods).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sepcli.priors.lass.quantizer import ordered_weights
from sepcli.priors.lass.vqvae1d import Residual
from sepcli.training.distributed import ALONE, World

MOST_LAYERS, MOST_TOKENS = 64, 65_536
"""Largest number of layers, and dilation of one of them in tokens."""


@dataclass(frozen=True)
class ContextConfig:
    """Sizes; they are stored beside the weights.

    Attributes:
        vocabulary: V of the codec.
        sources: names of the K sources.
        features: F, channels of the codec's features.
        dim: channels of the network.
        dilations: one residual layer per entry; the network looks Σ of them tokens back and as far ahead.

    Raises:
        ValueError: no weights have the shape of ``sources`` or ``dilations``, and these are out of range.
    """

    vocabulary: int
    sources: tuple[str, ...]
    features: int = 256
    dim: int = 256
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 1, 2, 4, 8, 16)

    def __post_init__(self) -> None:
        lists = isinstance(self.sources, tuple) and isinstance(self.dilations, tuple)
        if not lists or len(self.dilations) > MOST_LAYERS:
            raise ValueError("sources or dilations that are no lists, or too many of them")
        if not all(type(d) is int and 1 <= d <= MOST_TOKENS for d in self.dilations):
            raise ValueError(f"dilations of {self.dilations}")


class ContextLikelihood(nn.Module):
    """log p(c | z_k) of all V tokens of all K sources, up to a constant."""

    counts: Tensor

    def __init__(self, config: ContextConfig) -> None:
        super().__init__()
        self.config = config
        self.first = nn.Conv1d(config.features, config.dim, 1)
        self.layers = nn.Sequential(*(Residual(config.dim, dilation) for dilation in config.dilations))
        self.norm = nn.LayerNorm(config.dim)
        self.head = nn.Linear(config.dim, len(config.sources) * config.vocabulary)
        self.register_buffer("counts", torch.ones(len(config.sources), config.vocabulary))

    @torch.no_grad()
    def order_codes(self, codebook: Tensor) -> None:
        """Set every token's weights from its code (V, D), by ``ordered_weights``."""
        maps = [ordered_weights(codebook, self.config.dim) for _ in self.config.sources]
        self.head.weight.copy_(torch.cat(maps))
        nn.init.zeros_(self.head.bias)

    @torch.no_grad()
    def count(self, tokens: Tensor, world: World = ALONE) -> None:
        """Add all processes' tokens (B, K, L) of clean sources to the counts behind the marginals p_k(z)."""
        for source, counts in zip(tokens.unbind(1), self.counts, strict=True):
            counts += world.sum(torch.bincount(source.flatten(), minlength=self.config.vocabulary))

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, L, F) of mixtures to a description of every token's surroundings, (B, L, dim)."""
        x: Tensor = self.norm(self.layers(self.first(features.transpose(1, 2))).transpose(1, 2))
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Output (..., dim) of ``forward`` to log q_k(z | c) up to a constant per source, (..., K, V)."""
        logits: Tensor = self.head(hidden)
        return logits.view(*logits.shape[:-1], len(self.config.sources), self.config.vocabulary)

    def log_ratio(self, hidden: Tensor) -> Tensor:
        """Output (..., dim) of ``forward`` to log q_k(z | c) - log p_k(z), (..., K, V), float32."""
        marginal = (self.counts / self.counts.sum(-1, keepdim=True)).log()
        return self.logits(hidden).float().log_softmax(-1) - marginal


class ContextTerm:
    """μ log p(c_t | z_k) for every token of every source, for W windows.

    Args:
        likelihood: the network, on the device of the features.
        features: c (W, L, F), the codec's of the mixtures.
        power: μ.
    """

    def __init__(self, likelihood: ContextLikelihood, features: Tensor, power: float) -> None:
        self._likelihood = likelihood
        self._hidden = likelihood(features)
        self._power = power

    def at(self, position: int) -> Tensor:
        """Return the term at a step, up to a constant per window and source: (W, K, V), float32."""
        return self._power * self._likelihood.log_ratio(self._hidden[:, position])
