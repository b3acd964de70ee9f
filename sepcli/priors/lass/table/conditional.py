"""Conditional distributions from sparse counts, smoothed by coarser ones.

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
        size: V contexts for one source's code, V² for a pair.
    """

    counts: Counts
    contexts: Counts
    lost: Tensor
    size: int

    @classmethod
    def of(cls, counts: Counts, size: int) -> Conditional:
        """Make the distribution of complete counts."""
        contexts = counts.regroup(counts.keys % size)
        return cls(counts, contexts, torch.zeros_like(contexts.values), size)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        counts = (self.counts.keys, self.counts.values, self.contexts.keys, self.contexts.values)
        return self.lost.nbytes + sum(tensor.nbytes for tensor in counts)

    def offsets(self, vocabulary: int) -> Tensor:
        """Return the starts of the slices of the mixture codes, and the end of the last one: (V + 1,)."""
        steps = torch.arange(vocabulary + 1, device=self.counts.keys.device) * self.size
        return torch.searchsorted(self.counts.keys, steps)

    def most_counted(self, code: int, most: int) -> Counts:
        """Return the ``most`` contexts counted most with mixture code m, or with any for -1.

        Ties go to the smaller context.
        """
        contexts = self.contexts
        if code >= 0:
            ends = torch.tensor([code, code + 1], device=self.counts.keys.device) * self.size
            low, high = torch.searchsorted(self.counts.keys, ends).tolist()
            contexts = Counts(self.counts.keys[low:high] % self.size, self.counts.values[low:high])
        n = len(contexts)
        if n <= most:
            return contexts
        rank = contexts.values * n + torch.arange(n - 1, -1, -1, device=contexts.values.device)
        return contexts.at(rank.topk(most).indices.sort().values)

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
        """Keep the ``most`` largest counts; ties go to the smaller key.

        The ``at_least`` best of every m come before all others, so that no observed m loses its support.
        """
        if len(self.counts) <= most:
            return self
        values, code = self.counts.values, self.counts.keys // self.size
        falling = values.argsort(descending=True, stable=True)
        grouped = falling[code[falling].argsort(stable=True)]
        starts = torch.searchsorted(code, code)  # of the slices, which keep their order when grouped
        rank = torch.empty_like(starts)
        rank[grouped] = torch.arange(len(values), device=starts.device) - starts
        ordered = falling[(rank[falling] >= at_least).int().argsort(stable=True)]
        held = self.counts.at(ordered[:most].sort().values)
        kept = held.regroup(held.keys % self.size)
        total = self.contexts.lookup(kept.keys)
        return Conditional(held, Counts(kept.keys, total), total - kept.values, self.size)

    def to(self, device: torch.device) -> Conditional:
        """Move the counts to a device."""
        return Conditional(self.counts.to(device), self.contexts.to(device), self.lost.to(device), self.size)


@dataclass(frozen=True, eq=False)
class BackOff:
    """p_bo(m | a, b) = 0.5 p(m | a) + 0.4 p(m | b) + 0.1 p(m), from the marginals of the triples.

    The weights are 0.45, 0.45 and 0.1 for sources that may be exchanged. p(m) = (n_m + ½) / (Σ n_m + V/2), so
    that no mixture code is impossible.

    Attributes:
        first: n_am by the code of the first source.
        second: n_bm by the code of the second source; None for sources that may be exchanged.
        unigram: (V,) int64, n_m.
    """

    first: Conditional
    second: Conditional | None
    unigram: Tensor

    @classmethod
    def of(cls, triples: Counts, vocabulary: int, symmetric: bool) -> BackOff:
        """Make the marginals of complete counts under the keys (m V + a) V + b."""
        v = vocabulary
        first = Conditional.of(triples.regroup(triples.keys // v), v)
        second = None
        if not symmetric:
            second = Conditional.of(triples.regroup(triples.keys // (v * v) * v + triples.keys % v), v)
        codes = first.counts.keys // v
        unigram = torch.zeros(v, dtype=torch.int64).index_add_(0, codes, first.counts.values)
        return cls(first, second, unigram)

    @property
    def parts(self) -> dict[str, Conditional]:
        """The conditionals by name."""
        return {"first": self.first} | ({} if self.second is None else {"second": self.second})

    @property
    def total(self) -> int:
        """Number of triples counted."""
        return int(self.unigram.sum())

    @property
    def pruned(self) -> bool:
        """Whether anything that was counted is no longer held."""
        return any(part.counts.total < self.total for part in self.parts.values())

    def probability(self, first: Tensor, second: Tensor, mixture: Tensor) -> Tensor:
        """p_bo(m | a, b), element by element: a, b, m of one shape to float32 of that shape, above 0."""
        counted = self.unigram.float()
        p_m = ((counted + 0.5) / (counted.sum() + 0.5 * counted.numel()))[mixture]
        p_a = self.first.probability(mixture, first, p_m)
        if self.second is None:
            return 0.45 * (p_a + self.first.probability(mixture, second, p_m)) + 0.1 * p_m
        return 0.5 * p_a + 0.4 * self.second.probability(mixture, second, p_m) + 0.1 * p_m

    def keep(self, most: int) -> BackOff:
        """Keep the ``most`` largest counts of each source; p(m) stays exact."""
        return BackOff(self.first.keep(most), self.second and self.second.keep(most), self.unigram)

    def to(self, device: torch.device) -> BackOff:
        """Move the counts to a device."""
        second = self.second and self.second.to(device)
        return BackOff(self.first.to(device), second, self.unigram.to(device))
