"""Keys and values of sequences that have nothing in common: a ring of the last tokens of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from sepcli.priors.lass.histories import SPARE, Fed, Pool, Tree, moved

BLOCK = 64
"""Slots are attended to in whole blocks, since libraries prepare products anew for every size."""


@dataclass(frozen=True)
class Ring:
    """The last tokens of N = R · K sequences, K of each row.

    Attributes:
        keys: (layers, N, d, context), the token at position p in slot p % context.
        values: (layers, N, context, d), likewise.
        sources: K.
        position: number of tokens fed.
    """

    keys: Tensor
    values: Tensor
    sources: int
    position: int = 0

    @classmethod
    def empty(cls, like: Tensor, layers: int, n: int, context: int, d: int, sources: int) -> Ring:
        """Return N rings, of the type and device of ``like``."""
        keys, values = (like.new_zeros(layers, n, *shape) for shape in ((d, context), (context, d)))
        return cls(keys, values, sources)

    @property
    def rows(self) -> int:
        """R."""
        return self.keys.shape[1] // self.sources

    def feed(self, tokens: Tensor, vocabulary: int) -> tuple[Fed, Ring]:
        """Append tokens (R, K), int64 in [0, vocabulary)."""
        source = torch.arange(self.sources, device=tokens.device).repeat(len(tokens))
        fed = Fed(tokens.flatten(), source, None, partial(self.attend, self.position))
        return fed, replace(self, position=self.position + 1)

    def attend(self, position: int, layer: int, query: Tensor, new: Tensor) -> Tensor:
        """``Attend``, for the token at a position."""
        keys, values, context = self.keys[layer], self.values[layer], self.keys.shape[-1]
        slot, filled = position % context, min(position + 1, context)
        size = min(-(-filled // BLOCK) * BLOCK, context)
        keys[:, :, slot], values[:, slot] = new.chunk(2, dim=-1)
        scores = torch.bmm(query.to(keys.dtype), keys[..., :size]).float()
        scores[..., filled:] = -torch.inf
        return torch.bmm(torch.softmax(scores, dim=-1).to(keys.dtype), values[:, :size])

    def select(self, rows: Tensor) -> Tree:
        """Return the histories of rows (R',) int64, as copies."""
        n, _, context = self.keys.shape[1:]
        filled = min(self.position, context)
        slots = torch.arange(filled, device=rows.device).expand(n, -1)
        positions = self.position - 1 - (self.position - 1 - slots) % context
        owner = torch.arange(n, device=rows.device)
        parts = (self.keys[..., :filled].transpose(2, 3), self.values[:, :, :filled])
        memory, positions = moved(torch.cat(parts, dim=-1).float(), positions, slots, SPARE)
        pool = Pool(memory, positions, torch.full_like(owner, filled), context)
        where = owner.view(-1, self.sources)[rows]
        return Tree(pool, memory.new_zeros(n, filled), owner, where, self.position)
