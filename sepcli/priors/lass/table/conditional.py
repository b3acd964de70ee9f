"""One conditional distribution p(m | c) from sparse counts, smoothed by a coarser one.

    p(m | c) = (n_cm + (lost_c + β) p_bo(m)) / (n_c + β)

n_c is exact; lost_c = n_c - Σ_m (n_cm still held) is what pruning took away. Handing the lost mass to the
back-off keeps Σ_m p(m | c) = 1 whatever was pruned; a context pruned altogether, or never seen, is its
back-off.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.priors.lass.table.counts import Counts


@dataclass(frozen=True, eq=False)
class Conditional:
    """Counts of (m, c) for contexts c in [0, size).

    Attributes:
        counts: n_cm under the keys m · size + c.
        contexts: n_c under the keys c, for every context that ``counts`` holds.
        lost: (len(contexts),) int64, what ``counts`` no longer holds of each context.
        size: The number of possible contexts: V for one source's code, V² for a pair.
    """

    counts: Counts
    contexts: Counts
    lost: Tensor
    size: int

    @classmethod
    def of(cls, counts: Counts, size: int) -> Conditional:
        """From complete counts."""
        contexts = counts.regroup(counts.keys % size)
        return cls(counts, contexts, torch.zeros_like(contexts.values), size)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.counts.nbytes + self.contexts.nbytes + self.lost.nbytes

    def slice(self, mixture: int) -> tuple[int, int]:
        """The range of ``counts`` that holds mixture code m."""
        ends = torch.tensor([mixture * self.size, (mixture + 1) * self.size], device=self.counts.keys.device)
        low, high = torch.searchsorted(self.counts.keys, ends).tolist()
        return low, high

    def offsets(self, vocabulary: int) -> Tensor:
        """Where the slice of every mixture code starts, and where the last one ends: (V + 1,) int64."""
        steps = torch.arange(vocabulary + 1, device=self.counts.keys.device) * self.size
        return torch.searchsorted(self.counts.keys, steps)

    def probability(
        self, mixture: Tensor, context: Tensor, coarse: Tensor, beta: float = 0.0, seen: Tensor | None = None
    ) -> Tensor:
        """p(m | c), element by element.

        Args:
            mixture: m, any shape, int64.
            context: c, the same shape, int64.
            coarse: p_bo(m), the same shape, float32.
            beta: β, the weight of the back-off in counts.
            seen: n_cm if the caller has it, the same shape.

        Returns:
            The same shape, float32.
        """
        if not len(self.contexts):
            return coarse
        if seen is None:
            seen = self.counts.lookup(mixture * self.size + context)
        position, held = self.contexts.find(context)
        total = (self.contexts.values[position] * held).float() + beta
        backed = (self.lost[position] * held).float() + beta
        return torch.where(total > 0, (seen.float() + backed * coarse) / total.clamp(min=1e-30), coarse)

    def keep(self, most: int, at_least: int = 1) -> Conditional:
        """The ``most`` largest counts; ties go to the smaller key.

        Args:
            most: How many (m, c) to hold.
            at_least: So many of the best of every m come before all others: no observed m loses its support.
        """
        if len(self.counts) <= most:
            return self
        values, code = self.counts.values, self.counts.keys // self.size
        falling = values.argsort(descending=True, stable=True)
        grouped = falling[code[falling].argsort(stable=True)]
        starts = torch.searchsorted(
            code, code
        )  # first entry of the same slice; slices keep their order when grouped
        rank = torch.empty_like(starts)
        rank[grouped] = torch.arange(len(values), device=starts.device) - starts
        ordered = falling[(rank[falling] >= at_least).int().argsort(stable=True)]
        held = self.counts.at(ordered[:most].sort().values)
        kept = held.regroup(held.keys % self.size)
        total = self.contexts.lookup(kept.keys)
        return Conditional(held, Counts(kept.keys, total), total - kept.values, self.size)

    def to(self, device: torch.device) -> Conditional:
        """The same distribution on a device."""
        return Conditional(self.counts.to(device), self.contexts.to(device), self.lost.to(device), self.size)
