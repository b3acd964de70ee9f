"""A token posterior small enough to enumerate: two Markov chains seen through a random likelihood."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from sepcli.protocols import Candidates


class ChainState(NamedTuple):
    past: Tensor
    """The last two tokens of every source, (W, H, 2, K); 0 before the start."""
    position: int


class ChainPosterior:
    """W windows with their own likelihoods; every pair of codes is a candidate, those of ``banned`` at -inf.

    The chains look two tokens back, so that a sampler that forgets to reorder the state is found out.
    """

    def __init__(self, windows: int, length: int, codes: int = 3, seed: int = 0, padding: int = 0) -> None:
        g = torch.Generator().manual_seed(seed)
        self.windows, self.length, self.codes, self.padding = windows, length, codes, padding
        self.chains = (2.0 * torch.randn(2, codes, codes, codes, generator=g)).log_softmax(-1)
        self.pairs = torch.tensor(list(itertools.product(range(codes), repeat=2)))
        self.likelihood = 1.5 * torch.randn(windows, length, len(self.pairs), generator=g)

    def start(self, hypotheses: int) -> ChainState:
        return ChainState(torch.zeros(self.windows, hypotheses, 2, 2, dtype=torch.int64), 0)

    def step(self, state: ChainState, tokens: Tensor | None) -> tuple[Candidates, ChainState]:
        past = state.past if tokens is None else torch.stack([state.past[:, :, 1], tokens], dim=2)
        score = self.likelihood[:, state.position][:, None].expand(-1, past.shape[1], -1)
        for k in range(2):
            score = score + self.chains[k][past[:, :, 0, k], past[:, :, 1, k]][..., self.pairs[:, k]]
        score = torch.nn.functional.pad(score, (0, self.padding), value=-torch.inf)
        listed = torch.nn.functional.pad(self.pairs, (0, 0, 0, self.padding)).expand(self.windows, -1, -1)
        return Candidates(listed, score), ChainState(past, state.position + 1)

    def select(self, state: ChainState, parents: Tensor) -> ChainState:
        index = parents[..., None, None].expand(*parents.shape, 2, 2)
        return ChainState(state.past.gather(1, index), state.position)

    def only(self, window: int) -> ChainPosterior:
        """The same posterior with one window."""
        alone = ChainPosterior(1, self.length, self.codes, padding=self.padding)
        alone.chains, alone.likelihood = self.chains, self.likelihood[window : window + 1]
        return alone

    def exhaustive(self) -> tuple[Tensor, Tensor]:
        """Every sequence (S, L, K) and its score (W, S)."""
        pairs = [tuple(p) for p in self.pairs.tolist()]
        sequences = torch.tensor(list(itertools.product(pairs, repeat=self.length)))
        total = torch.zeros(self.windows, len(sequences), dtype=torch.float64)
        past = torch.zeros(2, len(sequences), 2, dtype=torch.int64)
        for t in range(self.length):
            now = sequences[:, t]
            total += self.likelihood[:, t][:, now[:, 0] * self.codes + now[:, 1]]
            for k in range(2):
                total += self.chains[k][past[0][:, k], past[1][:, k], now[:, k]]
            past = torch.stack([past[1], now])
        return sequences, total
