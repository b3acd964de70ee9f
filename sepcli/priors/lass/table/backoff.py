"""The coarse distribution behind the table: what a mixture code looks like given one source's code, or none.

    p_bo(m | a, b) = 0.5 p(m | a) + 0.4 p(m | b) + 0.1 p(m)

with weights 0.45, 0.45 and 0.1 where the sources may be exchanged; p(m) = (n_m + ½) / (Σ n_m + V/2), so that
no mixture code is impossible.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sepcli.priors.lass.table.conditional import Conditional
from sepcli.priors.lass.table.counts import Counts


@dataclass(frozen=True, eq=False)
class BackOff:
    """The marginals of the triples.

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
        """From complete counts under the keys (m V + a) V + b."""
        v = vocabulary
        first = Conditional.of(triples.regroup(triples.keys // v), v)
        second = None
        if not symmetric:
            second = Conditional.of(triples.regroup(triples.keys // (v * v) * v + triples.keys % v), v)
        counts = first.counts
        return cls(
            first, second, torch.zeros(v, dtype=torch.int64).index_add_(0, counts.keys // v, counts.values)
        )

    @property
    def total(self) -> int:
        """Everything that was counted."""
        return int(self.unigram.sum())

    @property
    def pruned(self) -> bool:
        """Whether anything that was counted is no longer held."""
        return any(p.counts.total < self.total for p in (self.first, self.second) if p is not None)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        second = 0 if self.second is None else self.second.nbytes
        return self.first.nbytes + second + self.unigram.nbytes

    def probability(self, first: Tensor, second: Tensor, mixture: Tensor) -> Tensor:
        """p_bo(m | a, b), element by element: a, b, m of one shape to float32 of that shape, above 0."""
        counted = self.unigram.float()
        p_m = ((counted + 0.5) / (counted.sum() + 0.5 * counted.numel()))[mixture]
        p_a = self.first.probability(mixture, first, p_m)
        if self.second is None:
            return 0.45 * (p_a + self.first.probability(mixture, second, p_m)) + 0.1 * p_m
        return 0.5 * p_a + 0.4 * self.second.probability(mixture, second, p_m) + 0.1 * p_m

    def keep(self, most: int) -> BackOff:
        """The ``most`` largest counts of each source; p(m) stays exact."""
        second = None if self.second is None else self.second.keep(most)
        return BackOff(self.first.keep(most), second, self.unigram)

    def to(self, device: torch.device) -> BackOff:
        """The same distribution on a device."""
        second = None if self.second is None else self.second.to(device)
        return BackOff(self.first.to(device), second, self.unigram.to(device))
