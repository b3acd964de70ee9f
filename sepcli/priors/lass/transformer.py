"""An autoregressive prior over codec tokens: p(z | k) = Π_t p(z_t | z_<t, k), one network for K sources.

A causal transformer with rotary positions, root-mean-square normalization, one key/value head shared by all
query heads and attention limited to the last ``context`` tokens, so that the cache of one row is small and
does not grow with the sequence. The source k enters as an embedding added to every token. ``step`` writes the
new token into the cache, so that a ``State`` is fed once; ``select`` is the way to branch (``decoding``).

Source: Vaswani et al. 2017; Shazeer 2019, "Fast Transformer Decoding" (multi-query attention); Su et al.
    2021, "RoFormer".
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.priors.lass.decoding import Layer, State, Weights, advance
from sepcli.priors.lass.quantizer import ordered_weights
from sepcli.priors.lass.ring import Ring

MAX_CONTEXT = 65_536
"""Largest context, in tokens."""


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of the network; they are stored beside its weights.

    Attributes:
        vocabulary: V.
        sources: names of the K sources.
        dim: width of the residual stream.
        layers: number of blocks.
        heads: query heads; keys and values have one head.
        head_dim: dimensions of a head, even.
        context: number of tokens back attention sees, the token itself included.
        mlp_ratio: hidden width of the feed-forward part over ``dim``.

    Raises:
        ValueError: no weights have the shape of ``context`` or ``sources``, and these are out of range.
    """

    vocabulary: int
    sources: tuple[str, ...]
    dim: int = 256
    layers: int = 4
    heads: int = 4
    head_dim: int = 64
    context: int = 256
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        context = isinstance(self.context, int) and 1 <= self.context <= MAX_CONTEXT
        if not context or not isinstance(self.sources, tuple):
            raise ValueError(f"a context of {self.context} tokens, or sources that are no list of names")


class Block(nn.Module):
    """Attention and feed-forward, each added to the residual stream."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = config.heads, config.head_dim
        inner = config.heads * config.head_dim
        self.norm1 = nn.RMSNorm(config.dim)
        self.query = nn.Linear(config.dim, inner, bias=False)
        self.key_value = nn.Linear(config.dim, 2 * config.head_dim, bias=False)
        self.merge = nn.Linear(inner, config.dim, bias=False)
        self.norm2 = nn.RMSNorm(config.dim)
        self.up = nn.Linear(config.dim, config.mlp_ratio * config.dim, bias=False)
        self.down = nn.Linear(config.mlp_ratio * config.dim, config.dim, bias=False)
        for layer in (self.merge, self.down):  # small, so that a new block hardly changes what passes
            nn.init.normal_(layer.weight, std=0.02 / (2 * config.layers) ** 0.5)

    def queries(self, x: Tensor, angles: Tensor) -> Tensor:
        """(N, T, dim) to rotated queries (N, heads, T, head_dim)."""
        q: Tensor = self.query(x).unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)
        return rotate(q, angles)

    def keys_values(self, x: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, dim) to rotated keys and plain values, (N, T, head_dim) each."""
        k, v = self.key_value(x).chunk(2, dim=-1)
        return rotate(k, angles), v

    def feed(self, x: Tensor) -> Tensor:
        """Apply the feed-forward half of the block, (N, T, dim) to (N, T, dim)."""
        y: Tensor = self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))
        return x + y

    def forward(self, x: Tensor, angles: Tensor, mask: Tensor) -> Tensor:
        """Process all tokens: x (N, T, dim), angles (T, head_dim / 2), mask (T, T) of the visible ones."""
        h = self.norm1(x)
        k, v = (t.unsqueeze(1).expand(-1, self.heads, -1, -1) for t in self.keys_values(h, angles))
        y = F.scaled_dot_product_attention(self.queries(h, angles), k, v, attn_mask=mask)
        return self.feed(x + self.merge(y.transpose(1, 2).flatten(2)))


class TransformerPrior(nn.Module):
    """The prior of some sources side by side, by default all; fulfils ``sepcli.protocols.TokenPrior``.

    Attributes:
        sources: which of the config's, by index.
        step_type: of the matrix products of single steps, float32 or bfloat16.
    """

    frequencies: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.sources = tuple(range(len(config.sources)))
        self.step_type = torch.float32
        self.embed = nn.Embedding(config.vocabulary + 1, config.dim)  # the last row is the start symbol
        self.source = nn.Embedding(len(config.sources), config.dim)
        self.blocks: list[Block] = nn.ModuleList(Block(config) for _ in range(config.layers))  # type: ignore[assignment]
        self.norm = nn.RMSNorm(config.dim)
        self.bias = nn.Embedding(len(config.sources), config.vocabulary)  # unigram log-odds of each source
        half = config.head_dim // 2
        self.register_buffer("frequencies", 10000.0 ** (-torch.arange(half) / half), persistent=False)
        nn.init.normal_(self.embed.weight, std=0.02)
        nn.init.normal_(self.source.weight, std=0.02)
        nn.init.zeros_(self.bias.weight)

    def of(self, sources: tuple[int, ...]) -> TransformerPrior:
        """Return the prior of these sources of the config, by index, some repeated; it shares all weights."""
        prior = copy.copy(self)
        prior.sources = sources
        return prior

    @torch.no_grad()
    def embed_codes(self, codebook: Tensor) -> None:
        """Set every token's embedding from its code (V, D); ValueError if there are not V codes."""
        if codebook.shape[0] != self.config.vocabulary:
            raise ValueError(f"{codebook.shape[0]} codes for {self.config.vocabulary} tokens")
        embeddings = ordered_weights(codebook, self.config.dim)
        self.embed.weight[: self.config.vocabulary] = embeddings.to(self.embed.weight)

    def logits(self, tokens: Tensor, source: Tensor) -> Tensor:
        """Return unnormalized log-probabilities (N, L, V), float32, of every token given those before it.

        Entry t of tokens (N, L) of sources (N,) is predicted from the start symbol and ``tokens[:, :t]``.
        """
        length = tokens.shape[1]
        start = torch.full_like(tokens[:, :1], self.config.vocabulary)
        x = self.embed(torch.cat([start, tokens[:, :-1]], dim=1)) + self.source(source)[:, None]
        position = torch.arange(length, device=tokens.device)
        distance = position[:, None] - position[None, :]
        mask = (distance >= 0) & (distance < self.config.context)
        for block in self.blocks:
            x = block(x, position[:, None] * self.frequencies, mask)
        return self._head(x, source[:, None])

    def loss(self, tokens: Tensor, source: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Return the mean negative log-likelihood, in nats per token, of tokens (N, L) of sources (N,)."""
        nll = F.cross_entropy(self.logits(tokens, source).flatten(0, 1), tokens.flatten(), reduction="none")
        per_row = nll.detach().view_as(tokens).mean(1)
        figures = {"nll": float(per_row.mean())}
        for k, name in enumerate(self.config.sources):
            chosen = per_row[source == k]
            if len(chosen):
                figures[f"nll_{name}"] = float(chosen.mean())
        return nll.mean(), figures

    @torch.no_grad()
    def start(self, rows: int) -> State:
        """Return the state before the first token, for ``rows`` rows."""
        weights, config, sources = self._weights(), self.config, len(self.sources)
        sizes = (config.layers, rows * sources, config.context, config.head_dim)
        return State(weights, Ring.empty(weights.head, *sizes, sources))

    @torch.no_grad()
    def step(self, state: State, tokens: Tensor | None) -> tuple[Tensor, State]:
        """Feed tokens (R, K), None for the start; return log-probabilities (R, K, V) of the next, float32."""
        if tokens is None:
            shape = (state.rows, len(self.sources))
            tokens = torch.full(shape, self.config.vocabulary, device=self.frequencies.device)
        return advance(state, tokens)

    def select(self, state: State, rows: Tensor) -> State:
        """Return the state whose row i is row ``rows[i]`` of ``state``; rows (R',) int64."""
        return state._replace(cache=state.cache.select(rows))

    def _weights(self) -> Weights:
        """Lay out the weights for single steps."""
        config, gain, d = self.config, self.config.dim**0.5, self.config.head_dim
        layers = []
        for block in self.blocks:
            keys, values = block.key_value.weight.chunk(2)
            pairs = torch.cat([block.query.weight / d**0.5, keys]).view(-1, 2, d // 2, config.dim)
            project = torch.cat([pairs.transpose(1, 2).reshape(-1, config.dim), values])
            parts = (
                project * (gain * block.norm1.weight),
                block.merge.weight,
                block.up.weight * (gain * block.norm2.weight),
                block.down.weight,
            )
            layers.append(Layer(*(part.to(self.step_type) for part in parts)))
        chosen = torch.tensor(self.sources, device=self.frequencies.device)
        head = self.embed.weight[: config.vocabulary] * (gain * self.norm.weight)
        floor = self.frequencies.new_tensor((config.dim * torch.finfo(torch.float32).eps) ** 0.5)
        turned = F.pad(self.frequencies.expand(config.heads + 1, -1), (0, 0, 0, 1))
        embed, source = self.embed.weight, self.source(chosen)
        return Weights(
            embed, source, tuple(layers), head.to(self.step_type), self.bias(chosen), turned, floor
        )

    def log_prob(self, tokens: Tensor) -> Tensor:
        """log p of tokens (R, K, L) in nats, summed over the sources: (R,), float32."""
        source = torch.tensor(self.sources, device=tokens.device).repeat(len(tokens))
        logits = self.logits(tokens.flatten(0, 1), source)
        nll = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
        return -nll.view(len(tokens), -1).sum(1)

    def _head(self, x: Tensor, source: Tensor) -> Tensor:
        weight = self.embed.weight[: self.config.vocabulary]
        logits: Tensor = F.linear(self.norm(x), weight).float() + self.bias(source).float()
        return logits


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn the pairs (x_i, x_{i + d/2}) of x (..., T, d) by angles (T, d/2)."""
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
