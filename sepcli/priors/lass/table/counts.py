"""Sparse counts under integer keys, and the streaming count of token triples.

A triple (z_1, z_2, z_m) = (a, b, m) of a vocabulary of V codes is one key, (m V + a) V + b < V³ < 2⁶³, so
sorted keys are sorted by mixture code first. Memory follows the number of distinct triples, never V² or V³.
Source of the method: Postolache et al. 2023 (LASS), equations 8-10.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sepcli.errors import InputError

MAX_VOCABULARY = 1 << 20
"""The largest V whose triples still fit one int64 key."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Number of occurrences of each key.

    Attributes:
        keys: (M,) int64, strictly increasing.
        values: (M,) int64, at least 1.
    """

    keys: Tensor
    values: Tensor

    @classmethod
    def of(cls, keys: Tensor, values: Tensor | None = None) -> Counts:
        """Count keys (any shape, any order, repeats allowed), each worth 1 or ``values`` (same shape)."""
        flat = keys.detach().cpu().reshape(-1).numpy()
        if values is None:
            unique, counts = np.unique(flat, return_counts=True)
        else:
            order = np.argsort(flat, kind="stable")  # timsort: linear on a few sorted runs laid end to end
            unique, starts = np.unique(flat[order], return_index=True)
            worth = values.detach().cpu().reshape(-1).numpy()[order]
            counts = np.add.reduceat(worth, starts) if len(starts) else worth
        return cls(torch.from_numpy(unique), torch.from_numpy(counts.astype(np.int64, copy=False)))

    @classmethod
    def sum(cls, parts: Iterable[Counts]) -> Counts:
        """Add counts: the result does not depend on the order of the parts."""
        held = list(parts)
        if len(held) == 1:
            return held[0]
        empty = torch.zeros(0, dtype=torch.int64)
        keys, values = [p.keys for p in held], [p.values for p in held]
        return cls.of(torch.cat([empty, *keys]), torch.cat([empty, *values]))

    def __len__(self) -> int:
        return self.keys.numel()

    @property
    def total(self) -> int:
        """Sum of all counts."""
        return int(self.values.sum())

    def find(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Return positions of keys (any shape), and whether they exist (else the position is arbitrary)."""
        if not len(self):
            return torch.zeros_like(query), torch.zeros_like(query, dtype=torch.bool)
        position = torch.searchsorted(self.keys, query.contiguous()).clamp_(max=len(self) - 1)
        return position, self.keys[position] == query

    def lookup(self, query: Tensor) -> Tensor:
        """Return counts of keys (any shape), 0 for a key never seen."""
        position, held = self.find(query)
        return self.values[position] * held if len(self) else torch.zeros_like(query)

    def regroup(self, keys: Tensor) -> Counts:
        """Count again under coarser keys (M,), aligned with the present ones."""
        return Counts.of(keys, self.values)

    def at(self, positions: Tensor) -> Counts:
        """Return the entries at ``positions`` (int64, increasing)."""
        return Counts(self.keys[positions], self.values[positions])

    def to(self, device: torch.device) -> Counts:
        """Move the counts to a device."""
        return Counts(self.keys.to(device), self.values.to(device))


class TripleCounter:
    """Counts token triples as they stream by.

    Keys wait in a buffer; full buffers become sorted runs, and runs of similar size are merged: N tokens cost
    O(N log N) time and O(distinct triples + buffer) memory.

    Args:
        vocabulary: V, the number of codes.
        symmetric: count (a, b, m) as (b, a, m) too, for sources that may be exchanged (equation 10 of LASS).
        buffer: keys held before they are sorted, 8 bytes each.

    Raises:
        InputError: V is not in [1, 2²⁰].
    """

    def __init__(self, vocabulary: int, *, symmetric: bool = False, buffer: int = 1 << 22) -> None:
        if not 1 <= vocabulary <= MAX_VOCABULARY:
            raise InputError(
                f"a likelihood table of {vocabulary} codes cannot be counted",
                f"use 1 to {MAX_VOCABULARY:,} codes",
            )
        self.vocabulary = vocabulary
        self.symmetric = symmetric
        self.pairs = 0
        self._buffer = buffer
        self._waiting: list[Tensor] = []
        self._held = 0
        self._runs: list[Counts] = []

    def add(self, first: Tensor, second: Tensor, mixture: Tensor) -> None:
        """Count tokens z_1, z_2 and z_m in [0, V) of one shape.

        Raises:
            InputError: shapes differ, or a token is not in [0, V).
        """
        a, b, m = check_tokens(self.vocabulary, first, second, mixture)
        base = m * self.vocabulary
        self._wait((base + a) * self.vocabulary + b)
        if self.symmetric:
            self._wait((base + b) * self.vocabulary + a)
        self.pairs += m.numel()

    def join(self, other: TripleCounter) -> None:
        """Add what another counter of as many codes has counted; it is not used any more."""
        self._runs += other._runs
        self._waiting += other._waiting
        self._held += other._held
        self.pairs += other.pairs
        if self._held >= self._buffer:
            self._sort()

    def triples(self) -> Counts:
        """Return all counts so far; counting may go on afterwards."""
        self._sort()
        self._runs = [Counts.sum(self._runs)]
        return self._runs[0]

    def _wait(self, keys: Tensor) -> None:
        self._waiting.append(keys)
        self._held += keys.numel()
        if self._held >= self._buffer:
            self._sort()

    def _sort(self) -> None:
        if not self._held:
            return
        self._runs.append(Counts.of(torch.cat(self._waiting)))
        self._waiting, self._held = [], 0
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            self._runs[-2:] = [Counts.sum(self._runs[-2:])]


def check_tokens(vocabulary: int, *tokens: Tensor) -> list[Tensor]:
    """Return tokens as flat int64 on the CPU.

    Raises:
        InputError: shapes differ, or a token is not in [0, V).
    """
    if len({t.shape for t in tokens}) > 1:
        raise InputError(
            f"token shapes differ: {', '.join(str(tuple(t.shape)) for t in tokens)}",
            "encode the sources and their mixture with the same codec and the same length",
        )
    for t in tokens:
        if t.numel() and (int(t.min()) < 0 or int(t.max()) >= vocabulary):
            raise InputError(
                f"a token is outside 0 … {vocabulary - 1}",
                "use the codec that the likelihood table was counted for",
            )
    return [t.detach().to("cpu", torch.int64).reshape(-1) for t in tokens]
