"""One step of the transformer prior, for all rows at once, with what came before in a cache.

The same function as ``TransformerPrior.logits``, but laid out for single tokens: queries, keys and values are
one product, gains of normalizations are part of the next weights, and matrix products may be in bfloat16;
everything else is float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sepcli.priors.lass.histories import Tree
from sepcli.priors.lass.ring import Ring

ROWS = 16
"""Products in bfloat16 have a multiple of this number of rows: libraries keep memory for every number."""


class Layer(NamedTuple):
    """Weights of a block."""

    project: Tensor
    """To the queries of all heads, key and value, ((heads + 2) d, dim); what is turned together is side by
    side."""
    merge: Tensor
    """(dim, heads d)."""
    up: Tensor
    down: Tensor


@dataclass(frozen=True)
class Weights:
    """The network of K sources side by side.

    Attributes:
        embed: (V + 1, dim), the last row is the start symbol.
        source: (K, dim).
        layers: one per block.
        head: (V, dim).
        bias: (K, V).
        frequencies: (heads + 2, d / 2), radians per token that queries and key are turned by; 0 for values.
        floor: (), the least norm that activations are divided by.
    """

    embed: Tensor
    source: Tensor
    layers: tuple[Layer, ...]
    head: Tensor
    bias: Tensor
    frequencies: Tensor
    floor: Tensor


class State(NamedTuple):
    """The cache of R partly generated rows of K sources."""

    weights: Weights
    cache: Ring | Tree

    @property
    def position(self) -> int:
        """Number of tokens fed so far, the start symbol included."""
        return self.cache.position

    @property
    def rows(self) -> int:
        """R."""
        return self.cache.rows


def advance(state: State, tokens: Tensor) -> tuple[Tensor, State]:
    """Feed tokens (R, K); return log-probabilities (R, K, V) of the next, float32, and the state then."""
    weights, (heads, half) = state.weights, state.weights.frequencies.shape
    fed, cache = state.cache.feed(tokens, len(weights.embed))
    x = weights.embed[fed.tokens] + weights.source[fed.source]
    angles = state.position * weights.frequencies
    turn = torch.polar(torch.ones_like(angles), angles)
    for number, layer in enumerate(weights.layers):
        projected = product(_normal(x, weights), layer.project).float()
        turned = torch.view_as_complex(projected.view(len(x), heads, half, 2)) * turn
        parts = torch.view_as_real(turned).view(len(x), heads, 2 * half)
        attended = fed.attend(number, parts[:, :-2], parts[:, -2:].flatten(1))
        x = x + product(attended.flatten(1).to(layer.merge.dtype), layer.merge)
        hidden = product(_normal(x, weights), layer.up).float()
        x = x + product(_gelu(hidden).to(layer.down.dtype), layer.down)
    logits = product(_normal(x, weights), weights.head).float() + weights.bias[fed.source]
    log_prob = torch.log_softmax(logits, dim=-1)
    if fed.rows is not None:
        log_prob = log_prob.index_select(0, fed.rows.flatten())
    return log_prob.view(*tokens.shape, -1), State(weights, cache)


def product(x: Tensor, weight: Tensor) -> Tensor:
    """Return x (N, I) times the transpose of a weight (O, I), (N, O); see ``ROWS``."""
    missing = -len(x) % ROWS if weight.dtype == torch.bfloat16 else 0
    return F.linear(F.pad(x, (0, 0, 0, missing)), weight)[: len(x)] if missing else F.linear(x, weight)


def _normal(x: Tensor, weights: Weights) -> Tensor:
    """Activations (N, dim) over their norms, in the type of the products."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return (x / torch.hypot(norm, weights.floor)).to(weights.head.dtype)


def _gelu(x: Tensor) -> Tensor:
    """x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2 as x σ(...), of which sigmoids are faster on CPUs."""
    slope = 2 * (2 / math.pi) ** 0.5
    inner = (x * x).mul_(0.044715 * slope).add_(slope).mul_(x)
    return inner.sigmoid_().mul_(x)
