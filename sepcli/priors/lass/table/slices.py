"""The source pairs behind a mixture code, and rows of them side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sepcli.priors.lass.table.conditional import Conditional
from sepcli.priors.lass.table.counts import Counts


def supported(joint: Conditional, codes: Tensor, nearest: Tensor | None, vocabulary: int) -> Tensor:
    """The codes whose slices stand for ``codes`` (U,): themselves, else their ``nearest``, else -1."""
    offsets = joint.offsets(vocabulary).cpu()
    empty = offsets[1:] == offsets[:-1]
    if nearest is not None:
        codes = torch.where(empty[codes], nearest.cpu()[codes], codes)
    return codes.masked_fill(empty[codes], -1)


def pairs_of(joint: Conditional, code: int, most: int) -> Counts:
    """The pairs behind a mixture code (behind any for -1): the ``most`` counted, ties to the smaller pair."""
    pairs = joint.contexts
    if code >= 0:
        low, high = joint.slice(code)
        pairs = Counts(joint.counts.keys[low:high] % joint.size, joint.counts.values[low:high])
    n = len(pairs)
    if n <= most:
        return pairs
    rank = pairs.values * n + torch.arange(n - 1, -1, -1, device=pairs.values.device)
    return pairs.at(rank.topk(most).indices.sort().values)


def side_by_side(rows: Sequence[Counts]) -> tuple[Counts, Tensor, Tensor]:
    """Rows laid end to end, and where each entry belongs: its row and its column, (entries,) int64."""
    lengths = torch.tensor([len(r) for r in rows])
    row = torch.repeat_interleave(torch.arange(len(rows)), lengths)
    column = torch.arange(len(row)) - torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
    entries = Counts(torch.cat([r.keys for r in rows]), torch.cat([r.values for r in rows]))
    return entries, row.to(entries.keys.device), column.to(entries.keys.device)
