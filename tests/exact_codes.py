"""A codec whose code is a level, one per value, a first-order prior over it, and its exact table of pairs."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from sepcli.priors.lass.table import LikelihoodTable, TripleCounter

LEVELS = torch.tensor([0.0, 0.6, 1.0, 1.7])
LENGTH = 3


class ExactCodec:
    """Signals (B, 1, L) ↔ the nearest of the levels and of their sums in pairs."""

    vocabulary = 16

    def __init__(self) -> None:
        sums = torch.tensor([float(a + b) for a, b in itertools.product(LEVELS, repeat=2)])
        self.values = torch.cat([LEVELS, sums[~torch.isin(sums, LEVELS)].unique()])
        self.values = torch.cat([self.values, self.values.new_full((16 - len(self.values),), 1e3)])

    def encode(self, signal: Tensor) -> Tensor:
        return (signal[:, 0, :, None] - self.values).abs().argmin(-1)

    def decode(self, tokens: Tensor) -> Tensor:
        return self.values[tokens][:, None]


class MarkovPrior:
    """p(z) of the first codes, the levels; the next depends on the one before."""

    def __init__(self, sources: int = 1) -> None:
        generator = torch.Generator().manual_seed(0)
        weights = torch.rand(17, 16, generator=generator) + 0.05
        weights[:, len(LEVELS) :] = 1e-30
        self.log_table = (weights / weights.sum(-1, keepdim=True)).log()
        self.sources = sources

    def of(self, sources: tuple[int, ...]) -> MarkovPrior:
        return MarkovPrior(len(sources))

    def start(self, rows: int) -> Any:
        return rows

    def step(self, state: Any, tokens: Tensor | None) -> tuple[Tensor, Any]:
        before = torch.full((state, self.sources), 16) if tokens is None else tokens
        return self.log_table[before], state

    def select(self, state: Any, rows: Tensor) -> Any:
        return len(rows)

    def log_prob(self, tokens: Tensor) -> Tensor:
        first = torch.full_like(tokens[..., :1], 16)
        before = torch.cat([first, tokens[..., :-1]], dim=-1)
        return self.log_table[before, tokens].sum((1, 2))


def pair_table() -> LikelihoodTable:
    """Every pair of levels, counted with its own sum and, less often, with the codes nearby."""
    codec, counter = ExactCodec(), TripleCounter(16, symmetric=True)
    for a, b in itertools.product(range(len(LEVELS)), repeat=2):
        total = float(LEVELS[a] + LEVELS[b])
        for m, value in enumerate(codec.values.tolist()):
            times = 1 + int(50 * max(0.0, 1 - abs(value - total)))
            counter.add(*(torch.full((times,), code) for code in (a, b, m)))
    return LikelihoodTable.of(counter, "exact")
