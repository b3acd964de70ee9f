"""Keys and values of sequences that have nothing in common: a ring of the last tokens of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from sepcli.priors.lass.histories import SPARE, Fed, Pool, Tree, moved


@dataclass(frozen=True)
class Ring:
    """The last tokens of N = R · K sequences, K of each row.

    Attributes:
        memory: (layers, N, context, 2 d), keys before values; the token at position p in slot p % context.
        sources: K.
        position: number of tokens fed.
    """

    memory: Tensor
    sources: int
    position: int = 0

    @property
    def rows(self) -> int:
        """R."""
        return self.memory.shape[1] // self.sources

    def feed(self, tokens: Tensor, vocabulary: int) -> tuple[Fed, Ring]:
        """Append tokens (R, K), int64 in [0, vocabulary)."""
        source = torch.arange(self.sources, device=tokens.device).repeat(len(tokens))
        fed = Fed(tokens.flatten(), source, None, partial(self.attend, self.position))
        return fed, replace(self, position=self.position + 1)

    def attend(self, position: int, layer: int, query: Tensor, new: Tensor) -> Tensor:
        """``Attend``, for the token at a position."""
        held, context = self.memory[layer], self.memory.shape[2]
        held[:, position % context] = new
        keys, values = held[:, : min(position + 1, context)].chunk(2, dim=-1)
        scores = torch.bmm(query, keys.transpose(1, 2))
        return torch.bmm(torch.softmax(scores, dim=-1), values)

    def select(self, rows: Tensor) -> Tree:
        """Return the histories of rows (R',) int64, as copies."""
        n, context = self.memory.shape[1:3]
        filled = min(self.position, context)
        slots = torch.arange(filled, device=rows.device).expand(n, -1)
        positions = self.position - 1 - (self.position - 1 - slots) % context
        owner = torch.arange(n, device=rows.device)
        memory, positions = moved(self.memory, positions, slots, SPARE)
        pool = Pool(memory, positions, torch.full_like(owner, filled), context)
        where = owner.view(-1, self.sources)[rows]
        return Tree(pool, memory.new_zeros(n, filled), owner, where, self.position)
