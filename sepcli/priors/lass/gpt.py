"""GPT-2 over an image's tokens, trained by others: the second stage of VQ-GAN, and ImageGPT.

A causal transformer with learned positions; the sequence begins with a token for the class of the image, or
with token 0 where there are no classes. It is not trained here.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2); Chen et al. 2020,
    "Generative Pretraining from Pixels" (ImageGPT); Esser et al. 2021, "Taming Transformers for
    High-Resolution Image Synthesis", section 3.2. Names of tensors are those of
    github.com/CompVis/taming-transformers, so that its checkpoints fit.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.errors import UsageError

MOST_TOKENS = 65_536
"""Largest context, in tokens."""


@dataclass(frozen=True)
class GptConfig:
    """Sizes of the network; they are stored beside its weights.

    Attributes:
        vocabulary: V; class number c begins an image as token c does.
        sources: what all images show, then the names of the classes.
        dim: width of the residual stream.
        layers: number of blocks.
        heads: heads of attention.
        context: largest number of tokens of an image.
        unconditional: whether an image may be of no class.
        pixels: a network of ImageGPT: images begin with one more token, normalizations are by the root
            mean square, and the activation is x σ(1.702 x).

    Raises:
        ValueError: the sizes do not fit each other.
    """

    vocabulary: int
    sources: tuple[str, ...]
    dim: int = 1536
    layers: int = 48
    heads: int = 24
    context: int = 256
    unconditional: bool = True
    pixels: bool = False

    def __post_init__(self) -> None:
        sizes = isinstance(self.context, int) and 1 <= self.context <= MOST_TOKENS
        if not sizes or not isinstance(self.sources, tuple) or self.heads < 1 or self.dim % self.heads:
            raise ValueError(f"{self.heads} heads of {self.dim} dimensions, {self.context} tokens")
        if not self.unconditional and not 1 < len(self.sources) <= self.vocabulary + 1:
            raise ValueError(f"{len(self.sources) - 1} classes for {self.vocabulary} tokens")


class GptState(NamedTuple):
    """The cache of R partly generated rows of K sources.

    Attributes:
        keys: per layer, keys of the tokens so far: (R·K, heads, context, dim / heads).
        values: per layer, their values, likewise.
        position: number of tokens fed so far, the first one included.
        rows: R.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    position: int
    rows: int


class Attention(nn.Module):
    """Causal attention."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.key, self.query, self.value, self.proj = (nn.Linear(config.dim, config.dim) for _ in range(4))

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, T, dim) to queries, keys and values, (N, heads, T, dim / heads) each."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        return q, k, v

    def merge(self, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        """Attend with queries (N, heads, T, d) to keys and values (N, heads, S, d): (N, T, dim)."""
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        merged: Tensor = self.proj(y.transpose(1, 2).flatten(2))
        return merged


class Block(nn.Module):
    """Attention and feed-forward, each added to the residual stream."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        self.ln1, self.ln2 = _norm(config), _norm(config)
        self.attn = Attention(config)
        self.mlp = nn.Sequential(
            nn.Linear(config.dim, 4 * config.dim),
            QuickGelu() if config.pixels else nn.GELU(),
            nn.Linear(4 * config.dim, config.dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Process all tokens, (N, T, dim) to the same."""
        x = x + self.attn.merge(*self.attn.split(self.ln1(x)), causal=True)
        y: Tensor = self.mlp(self.ln2(x))
        return x + y

    def advance(self, x: Tensor, keys: Tensor, values: Tensor, position: int) -> Tensor:
        """Process one token (N, 1, dim); write its key and value."""
        q, k, v = self.attn.split(self.ln1(x))
        keys[:, :, position], values[:, :, position] = k[:, :, 0], v[:, :, 0]
        past = slice(position + 1)
        x = x + self.attn.merge(q, keys[:, :, past], values[:, :, past], causal=False)
        y: Tensor = self.mlp(self.ln2(x))
        return x + y


class GptPrior(nn.Module):
    """The prior of some sources side by side, by default all; fulfils ``sepcli.protocols.TokenPrior``."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        self.config = config
        self.sources = tuple(range(len(config.sources)))
        self.tok_emb = nn.Embedding(config.vocabulary + config.pixels, config.dim)
        self.pos_emb = nn.Parameter(torch.zeros(1, config.context, config.dim))
        self.blocks: list[Block] = nn.ModuleList(Block(config) for _ in range(config.layers))  # type: ignore[assignment]
        self.ln_f = _norm(config)
        self.head = nn.Linear(config.dim, config.vocabulary, bias=False)

    def of(self, sources: tuple[int, ...]) -> GptPrior:
        """Return the prior of these sources of the config, by index, some repeated; it shares all weights.

        Raises:
            UsageError: one has no class, and there is no prior without classes.
        """
        if not self.config.unconditional and 0 in sources:
            raise UsageError(
                "the prior is of classes, and a source has none",
                f"give every source a class from 0 to {len(self.config.sources) - 2}",
                argument="labels",
            )
        prior = copy.copy(self)
        prior.sources = sources
        return prior

    @property
    def row_bytes(self) -> int:
        """Bytes of the cache of one row, when it is full."""
        config = self.config
        return 2 * 4 * config.layers * config.context * config.dim * len(self.sources)

    def logits(self, tokens: Tensor, source: Tensor) -> Tensor:
        """Return unnormalized log-probabilities (N, L, V), float32, of every token given those before it.

        Entry t of tokens (N, L) of sources (N,) is predicted from the class and ``tokens[:, :t]``.

        Raises:
            UsageError: L is more than the context.
        """
        self._check_length(tokens.shape[1])
        fed = torch.cat([self._first(source)[:, None], tokens[:, :-1]], dim=1)
        x = self.tok_emb(fed) + self.pos_emb[:, : fed.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self._head(x)

    def start(self, rows: int) -> GptState:
        """Return the state before the first token, for ``rows`` rows."""
        config = self.config
        shape = (rows * len(self.sources), config.heads, config.context, config.dim // config.heads)
        keys, values = (tuple(self.pos_emb.new_empty(shape) for _ in self.blocks) for _ in range(2))
        return GptState(keys, values, 0, rows)

    def step(self, state: GptState, tokens: Tensor | None) -> tuple[Tensor, GptState]:
        """Feed tokens (R, K), None for the start; return log-probabilities (R, K, V) of the next, float32.

        Raises:
            UsageError: the context is full.
        """
        self._check_length(state.position + 1)
        if tokens is None:
            source = torch.tensor(self.sources, device=self.pos_emb.device).repeat(state.rows)
            tokens = self._first(source)
        x = self.tok_emb(tokens.flatten())[:, None] + self.pos_emb[:, state.position]
        for block, keys, values in zip(self.blocks, state.keys, state.values, strict=True):
            x = block.advance(x, keys, values, state.position)
        log_prob = torch.log_softmax(self._head(x[:, 0]), dim=-1)
        shape = (state.rows, len(self.sources), -1)
        return log_prob.view(shape), state._replace(position=state.position + 1)

    def select(self, state: GptState, rows: Tensor) -> GptState:
        """Return the state whose row i is row ``rows[i]`` of ``state``; rows (R',) int64."""
        sources = len(self.sources)
        flat = (rows[:, None] * sources + torch.arange(sources, device=rows.device)).flatten()
        keys, values = (
            tuple(_gather(each, flat, state.position) for each in parts)
            for parts in (state.keys, state.values)
        )
        return GptState(keys, values, state.position, len(rows))

    def log_prob(self, tokens: Tensor) -> Tensor:
        """log p of tokens (R, K, L) in nats, summed over the sources: (R,), float32."""
        source = torch.tensor(self.sources, device=tokens.device).repeat(len(tokens))
        logits = self.logits(tokens.flatten(0, 1), source)
        nll = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
        return -nll.view(len(tokens), -1).sum(1)

    def _first(self, source: Tensor) -> Tensor:
        """Return the tokens (N,) that begin images of sources (N,)."""
        if self.config.pixels:
            return torch.full_like(source, self.config.vocabulary)
        return (source - 1).clamp(min=0)

    def _head(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.ln_f(x))
        return logits.float()

    def _check_length(self, tokens: int) -> None:
        if tokens > self.config.context:
            raise UsageError(
                f"the prior is of at most {self.config.context} tokens", "use smaller images", argument="size"
            )


class QuickGelu(nn.Module):
    """x σ(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return x * torch.sigmoid(1.702 * x)


def _norm(config: GptConfig) -> nn.Module:
    return nn.RMSNorm(config.dim, eps=1e-5) if config.pixels else nn.LayerNorm(config.dim)


def _gather(cache: Tensor, rows: Tensor, filled: int) -> Tensor:
    """Rows of a cache, copying only the tokens in use."""
    chosen = cache.new_empty((len(rows), *cache.shape[1:]))
    chosen[:, :, :filled] = cache[:, :, :filled].index_select(0, rows)
    return chosen
