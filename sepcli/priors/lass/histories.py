"""Keys and values of hypotheses that share their past, each held once.

A hypothesis that was chosen shares tokens with the others that began as the same sequence. Key and value of
every token lie in one slot of a pool, and a hypothesis is the set of slots that it sees. Hypotheses whose
tokens of one source are all equal are one *history* of that source, for which the network runs once; and
choosing copies no keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SPARE = 64
"""Free slots of a new pool."""

Attend = Callable[[int, Tensor, Tensor], Tensor]
"""(layer, queries (N, heads, d), key and value (N, 2 d)) to the attended values (N, heads, d)."""


class Fed(NamedTuple):
    """N histories to which a token is appended."""

    tokens: Tensor
    """(N,) int64."""
    source: Tensor
    """(N,) int64, which of the K sources side by side."""
    rows: Tensor | None
    """(R, K) int64, the history of every row and source; None: history i is source i % K of row i // K."""
    attend: Attend
    """Stores key and value of the token, and attends."""


class Pool(NamedTuple):
    """Keys and values of tokens in slots, of G sequences that hypotheses began as."""

    memory: Tensor
    """(layers, G, slots, 2 d), keys before values; finite in free slots."""
    positions: Tensor
    """(G, slots) int64, that of the token in each slot."""
    used: Tensor
    """(G,) int64, number of slots in use; it is updated in the pool that all hypotheses use."""
    context: int
    """Number of tokens back that a history sees, its last one included."""


@dataclass(frozen=True)
class Tree:
    """The histories of R rows of K sources.

    Attributes:
        pool: keys and values of their tokens; sequence g is of source g % K.
        seen: (N, slots), 0 where a history sees a slot, else -inf.
        owner: (N,) int64, rising: the sequence that each history began as.
        where: (R, K) int64, the history of every row and source.
        position: number of tokens fed.
    """

    pool: Pool
    seen: Tensor
    owner: Tensor
    where: Tensor
    position: int

    @property
    def rows(self) -> int:
        """R."""
        return len(self.where)

    def select(self, rows: Tensor) -> Tree:
        """Return the histories of rows (R',) int64."""
        return replace(self, where=self.where[rows])

    def feed(self, tokens: Tensor, vocabulary: int) -> tuple[Fed, Tree]:
        """Append tokens (R, K), int64 in [0, vocabulary): to every history each of its tokens once."""
        pairs, rows = torch.unique(self.where * vocabulary + tokens, return_inverse=True)
        parent = pairs // vocabulary
        owner, seen, pool = self.owner[parent], self.seen[parent], self.pool
        many = torch.bincount(owner, minlength=len(pool.used))
        count = torch.arange(len(owner), device=owner.device)
        number = count - (many.cumsum(0) - many)[owner]
        most, top = torch.stack([many, pool.used + many]).amax(1).tolist()
        if top > pool.positions.shape[1]:
            pool, seen = renewed(pool, seen, owner, most)
            top = int((pool.used + many).max())
        slots = pool.used[owner] + number
        pool.used.add_(many)
        seen = F.pad(seen, (0, top - seen.shape[1]), value=-torch.inf).scatter_(1, slots[:, None], 0.0)
        pool.positions[owner, slots] = self.position
        if self.position >= pool.context:
            expired = pool.positions[:, :top] <= self.position - pool.context
            seen.masked_fill_(expired[owner], -torch.inf)
        inside = owner * most + number
        padded = owner.new_zeros(len(many) * most).index_copy_(0, inside, count)
        layout = Layout(owner * pool.positions.shape[1] + slots, padded, inside)
        visible = seen.index_select(0, padded).view(len(many), most, 1, top)
        grown = Tree(pool, seen, owner, rows, self.position + 1)
        attend = partial(layout.attend, pool.memory, visible)
        return Fed(pairs - parent * vocabulary, owner % rows.shape[1], rows, attend), grown


class Layout(NamedTuple):
    """Where N histories go: beside those of the same sequence, as a batch of G, each of as many."""

    slots: Tensor
    """(N,) int64, slots of the tokens that are fed, in all sequences laid end to end."""
    padded: Tensor
    """(G · most,) int64, the histories of every sequence, and any one as padding."""
    inside: Tensor
    """(N,) int64, where each history is in ``padded``."""

    def attend(self, memory: Tensor, visible: Tensor, layer: int, query: Tensor, new: Tensor) -> Tensor:
        """``Attend`` to the slots that are visible (G, most, 1, slots)."""
        held, (groups, most, _, top) = memory[layer], visible.shape
        (heads, d), width = query.shape[1:], held.shape[-1]
        held.view(-1, width).index_copy_(0, self.slots, new)
        keys, values = held[:, :top].chunk(2, dim=-1)
        together = query.index_select(0, self.padded).view(groups, -1, d)
        scores = torch.bmm(together, keys.transpose(1, 2))
        scores.view(groups, most, heads, top).add_(visible)
        attended = torch.bmm(torch.softmax(scores, dim=-1), values)
        return attended.view(-1, heads, d).index_select(0, self.inside)


def renewed(pool: Pool, seen: Tensor, owner: Tensor, most: int) -> tuple[Pool, Tensor]:
    """Return a pool with room for ``most`` tokens and more, and what is seen (N, slots) in it.

    Only slots that a history sees are kept.
    """
    sees = (seen == 0.0).to(seen.dtype)
    alive = sees.new_zeros(len(pool.used), seen.shape[1]).index_add_(0, owner, sees) > 0
    used = alive.sum(1)
    kept = (~alive).to(torch.int8).argsort(dim=1, stable=True)[:, : int(used.max())]
    renewed = moved(pool.memory, pool.positions, kept, max(SPARE, most))
    return Pool(*renewed, used, pool.context), seen.gather(1, kept[owner])


def moved(memory: Tensor, positions: Tensor, kept: Tensor, spare: int) -> tuple[Tensor, Tensor]:
    """Copy slots kept (G, S) of memory (layers, G, slots, 2 d) and positions (G, slots), and add some."""
    sequences = torch.arange(len(kept), device=kept.device)[:, None]
    room = memory.new_zeros(*memory.shape[:2], kept.shape[1] + spare, memory.shape[-1])
    room[:, :, : kept.shape[1]] = memory[:, sequences, kept]
    return room, F.pad(positions.gather(1, kept), (0, spare))
