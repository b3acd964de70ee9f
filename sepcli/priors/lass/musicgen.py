"""The decoder of MusicGen as an autoregressive prior over Q codebooks, with their delay pattern.

Codebook q of frame t is at position t + q + 1 (q, t from 0), so that one step of the network gives one code
of every codebook, each of another frame; all else holds the start symbol V:

    position        0  1  2  3  4  5
    codebook 0      V  a  b  c  V  V
    codebook 1      V  V  a  b  c  V
    codebook 2      V  V  V  a  b  c

Given all positions before, the codes of a position are independent.

Source: Copet et al. 2023, "Simple and Controllable Music Generation", section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sepcli.priors.lass.music_networks import MusicgenSizes


@dataclass(frozen=True, eq=False)
class MusicgenPrior:
    """p(z) of one source, without a text.

    Attributes:
        network: a ``MusicgenForCausalLM``, in evaluation mode.
        sizes: its sizes.
    """

    network: Any
    sizes: MusicgenSizes

    @property
    def row_bytes(self) -> int:
        """Bytes of the cache of a row at the last position."""
        return 8 * self.sizes.layers * self.sizes.dim * self.sizes.context

    def start(self) -> Any:
        """Return an empty cache."""
        from transformers import DynamicCache

        return DynamicCache(config=self.network.config)

    def step(self, cache: Any, tokens: Tensor) -> Tensor:
        """Append tokens (R, Q) of the next position to a cache, which changes.

        Returns:
            Log-probabilities (R, Q, V) of the position after it, float32.
        """
        output = self.network(input_ids=tokens.reshape(-1, 1), cache=cache, use_cache=True)
        return F.log_softmax(output.logits.view(*tokens.shape, -1).float(), dim=-1)

    def log_probs(self, tokens: Tensor) -> Tensor:
        """Return the log-probabilities (R, Q, T, V) of every code given those before tokens (R, Q, T)."""
        laid = delayed(tokens, self.sizes.vocabulary)[..., :-1]
        logits = self.network(input_ids=laid.flatten(0, 1), use_cache=False).logits
        return F.log_softmax(undelayed(logits.view(*laid.shape, -1)).float(), dim=-1)

    def log_prob(self, tokens: Tensor) -> Tensor:
        """Return log p of tokens (R, Q, T) in nats: (R,), float32."""
        picked = self.log_probs(tokens).gather(-1, tokens[..., None])
        return picked.sum((1, 2, 3))


@dataclass(frozen=True)
class MusicgenPriors:
    """p(z) of K sources side by side; those of one network are one batch of it.

    Attributes:
        priors: one per source.
    """

    priors: tuple[MusicgenPrior, ...]

    @property
    def sizes(self) -> MusicgenSizes:
        """Sizes of the first one; vocabulary and number of codebooks are those of all."""
        return self.priors[0].sizes

    @property
    def context(self) -> int:
        """Positions that all were trained for."""
        return min(prior.sizes.context for prior in self.priors)

    @property
    def row_bytes(self) -> int:
        """Bytes of the caches of a row."""
        return sum(prior.row_bytes for prior in self.priors)

    def start(self) -> list[Any]:
        """Return an empty cache per network."""
        return [prior.start() for prior, _ in self._groups()]

    def step(self, caches: list[Any], tokens: Tensor) -> Tensor:
        """Append tokens (R, K, Q) to the caches; return log-probabilities (R, K, Q, V) of the next ones."""
        columns: list[Tensor] = [tokens] * len(self.priors)
        for cache, (prior, sources) in zip(caches, self._groups(), strict=True):
            log_prob = prior.step(cache, tokens[:, sources].flatten(0, 1))
            parts = log_prob.view(len(tokens), len(sources), *log_prob.shape[1:]).unbind(1)
            for source, part in zip(sources, parts, strict=True):
                columns[source] = part
        return torch.stack(columns, dim=1)

    def log_prob(self, tokens: Tensor) -> Tensor:
        """Return log p of tokens (R, K, Q, T) in nats, summed over the sources: (R,), float32."""
        each = [prior.log_prob(part) for prior, part in zip(self.priors, tokens.unbind(1), strict=True)]
        return torch.stack(each).sum(0)

    def _groups(self) -> list[tuple[MusicgenPrior, list[int]]]:
        """Return every network once, with the sources whose prior it is."""
        return [
            (prior, [k for k, other in enumerate(self.priors) if other is prior])
            for prior in dict.fromkeys(self.priors)
        ]


def delayed(tokens: Tensor, start: int) -> Tensor:
    """Lay tokens (..., Q, T) out by the delay pattern: (..., Q, T + Q), with the start symbol elsewhere."""
    levels, frames = tokens.shape[-2:]
    laid = tokens.new_full((*tokens.shape[:-1], frames + levels), start)
    for level in range(levels):
        laid[..., level, level + 1 : level + 1 + frames] = tokens[..., level, :]
    return laid


def undelayed(predicted: Tensor) -> Tensor:
    """Return predictions (R, Q, T + Q - 1, ...) of all positions but the first by frame: (R, Q, T, ...)."""
    levels = predicted.shape[1]
    frames = predicted.shape[2] - levels + 1
    rows = [predicted[:, level, level : level + frames] for level in range(levels)]
    return torch.stack(rows, dim=1)
