"""p(z_m | z_1, z_2) from counts of token triples, smoothed so that nothing unseen is impossible.

    p(m | a, b) = (n_abm + β p_bo(m | a, b)) / (n_ab + β)

The counts follow Postolache et al. 2023 (LASS), equations 8-10; p_bo mixes p(m | a), p(m | b) and p(m)
(``BackOff``), and β is chosen by held-out likelihood (``fit_beta``). Pruning hands the counts it drops to
p_bo (``conditional``), so every p(· | a, b) still sums to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sepcli.catalog.bounded import Files
from sepcli.errors import InputError
from sepcli.priors.lass.table.conditional import BackOff, Conditional
from sepcli.priors.lass.table.counts import Counts, TripleCounter, check_tokens
from sepcli.priors.lass.table.storage import check, number, pack, read, unpack, write

BETAS: tuple[float, ...] = tuple(10.0 ** (i / 4) for i in range(-8, 17))
"""The grid of ``fit_beta``: 0.01 to 10,000, four per decade."""


class Coverage(NamedTuple):
    """The shares, in [0, 1], of held-out tokens that a table covers."""

    codes: float
    """Mixture tokens with any support."""
    triples: float
    """Tokens whose (z_1, z_2) is in the slice of their z_m."""
    pairs: float
    """Tokens whose (z_1, z_2) was seen with any mixture code."""


@dataclass(frozen=True, eq=False)
class LikelihoodTable:
    """Sparse p(z_m | z_1, z_2) over V codes.

    Attributes:
        vocabulary: V.
        codec: hash of the codec whose tokens were counted.
        pairs: number of token pairs counted.
        symmetric: whether both orders of every pair were counted.
        joint: n_abm by pair; pair (a, b) is the context a V + b.
        coarse: p_bo.
        beta: β, the weight of p_bo in counts.
        nearest: (V,) int64, the code to read instead of an unseen mixture code; None: any pair is possible.
    """

    vocabulary: int
    codec: str
    pairs: int
    symmetric: bool
    joint: Conditional
    coarse: BackOff
    beta: float = 1.0
    nearest: Tensor | None = None

    @classmethod
    def of(cls, counter: TripleCounter, codec: str) -> LikelihoodTable:
        """Make a table of a counter and the hash of its codec; InputError if nothing was counted."""
        triples = counter.triples()
        return cls.from_triples(triples, counter.vocabulary, codec, counter.pairs, counter.symmetric)

    @classmethod
    def from_triples(
        cls, triples: Counts, vocabulary: int, codec: str, pairs: int, symmetric: bool
    ) -> LikelihoodTable:
        """Make a table of complete counts under the keys (m V + a) V + b; InputError if there are none."""
        if not len(triples):
            raise InputError(
                "a likelihood table needs at least one counted token", "count some mixtures first"
            )
        joint = Conditional.of(triples, vocabulary**2)
        return cls(vocabulary, codec, pairs, symmetric, joint, BackOff.of(triples, vocabulary, symmetric))

    @classmethod
    def merge(cls, tables: Sequence[LikelihoodTable]) -> LikelihoodTable:
        """Add the counts of tables; β and ``nearest`` come from the first.

        Raises:
            InputError: none are given, or they differ in vocabulary, codec or symmetry, or one was pruned.
        """
        if not tables:
            raise InputError("no likelihood table to merge", "give at least one")
        head = tables[0]
        if len({(t.vocabulary, t.codec, t.symmetric) for t in tables}) > 1:
            raise InputError(
                "likelihood tables of different codecs, vocabularies or symmetry cannot be merged",
                "count them again with the same codec and settings",
            )
        if any(t.pruned for t in tables):
            raise InputError("a pruned likelihood table cannot be merged", "merge first, then prune")
        triples, pairs = Counts.sum(t.joint.counts for t in tables), sum(t.pairs for t in tables)
        merged = cls.from_triples(triples, head.vocabulary, head.codec, pairs, head.symmetric)
        return replace(merged, beta=head.beta, nearest=head.nearest)

    @property
    def nonzeros(self) -> int:
        """The number of triples held."""
        return len(self.joint.counts)

    @property
    def pruned(self) -> bool:
        """Whether anything that was counted is no longer held."""
        return self.coarse.pruned or self.joint.counts.total < self.coarse.total

    @property
    def density(self) -> float:
        """Triples held over V³, in percent."""
        return 100.0 * self.nonzeros / self.vocabulary**3

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        marginals = sum(part.nbytes for part in self.coarse.parts.values())
        return self.joint.nbytes + self.coarse.unigram.nbytes + marginals

    def prune(
        self, max_nonzeros: int, max_marginals: int | None = None, per_code: int = 8
    ) -> LikelihoodTable:
        """Keep the most useful entries only: the best of every mixture code, then the highest counts.

        Args:
            max_nonzeros: triples to keep.
            max_marginals: entries to keep of p(m | a), and of p(m | b); None: all, the back-off stays exact.
            per_code: triples of every mixture code that come before all others.
        """
        coarse = self.coarse if max_marginals is None else self.coarse.keep(max_marginals)
        return replace(self, joint=self.joint.keep(max_nonzeros, per_code), coarse=coarse)

    def coverage(self, first: Tensor, second: Tensor, mixture: Tensor) -> Coverage:
        """Return the share of held-out tokens (any equal shapes) that the table covers.

        Raises:
            InputError: shapes differ, a token is not in [0, V), or there are none.
        """
        a, b, m = self._held_out(first, second, mixture)
        pair = a * self.vocabulary + b
        _, triples = self.joint.counts.find(m * self.joint.size + pair)
        _, pairs = self.joint.contexts.find(pair)
        offsets = self.joint.offsets(self.vocabulary)
        codes = offsets[m + 1] > offsets[m]
        return Coverage(*(float(hit.double().mean()) for hit in (codes, triples, pairs)))

    def log_likelihood(self, first: Tensor, second: Tensor, mixture: Tensor) -> Tensor:
        """log p(m | a, b), smoothed, element by element, never -inf.

        Tokens a, b, m of shapes that broadcast, int64 in [0, V), on the table's device, to float32.
        """
        coarse = self.coarse.probability(first, second, mixture)
        return self.joint.probability(mixture, first * self.vocabulary + second, coarse, self.beta).log()

    def support(self, codes: Tensor) -> Tensor:
        """Return the mixture codes to read instead of ``codes`` (any shape, int64 in [0, V)), likewise.

        A code stands for itself where it has pairs; else its ``nearest`` does, else -1.
        """
        offsets, read = self.joint.offsets(self.vocabulary).cpu(), codes.cpu()
        empty = offsets[1:] == offsets[:-1]
        if self.nearest is not None:
            read = torch.where(empty[read], self.nearest.cpu()[read], read)
        return read.masked_fill(empty[read], -1).to(codes.device)

    def candidates(self, codes: Tensor, max_candidates: int, multiple: int = 1) -> tuple[Tensor, Tensor]:
        """Return the source pairs possible for each mixture code m (U,), the most counted if there are more.

        n_abm is p(m | a, b) p(a, b) up to a constant, so the pairs kept are the likeliest under the pair
        unigram. A code without support is read as ``nearest``; failing that it gets the most frequent pairs,
        with log-likelihood 0.

        Returns:
            Tokens (U, N, 2), int64, rising by (a, b), and log p(m | a, b) (U, N), float32, where ``codes``
            are. N is the most that any of these codes has, rounded up to a ``multiple``; short rows end in
            padding, tokens 0 and -inf.
        """
        read, device = self.support(codes).cpu(), self.joint.counts.keys.device
        rows = [self.joint.most_counted(m, max_candidates) for m in read.tolist()]
        lengths = torch.tensor([len(row) for row in rows], device=device)
        pairs, seen = torch.cat([row.keys for row in rows]), torch.cat([row.values for row in rows])
        row = torch.repeat_interleave(torch.arange(len(rows), device=device), lengths)
        column = torch.arange(len(row), device=device) - (lengths.cumsum(0) - lengths)[row]
        m, a, b = read.to(device)[row], pairs // self.vocabulary, pairs % self.vocabulary
        coarse = self.coarse.probability(a, b, m.clamp(min=0))
        log_lik_of = self.joint.probability(m, pairs, coarse, self.beta, seen).log()
        width = -(-int(lengths.max()) // multiple) * multiple
        tokens = torch.zeros(len(rows), width, 2, dtype=torch.int64, device=device)
        log_lik = torch.full(tokens.shape[:2], -torch.inf, device=device)
        tokens[row, column] = torch.stack([a, b], dim=-1)
        log_lik[row, column] = torch.where(m < 0, 0.0, log_lik_of)
        return tokens.to(codes.device), log_lik.to(codes.device)

    def fit_beta(self, first: Tensor, second: Tensor, mixture: Tensor) -> float:
        """Return the β of the grid under which held-out tokens (any equal shapes) are likeliest.

        Raises:
            InputError: shapes differ, a token is not in [0, V), or there are none.
        """
        a, b, m = self._held_out(first, second, mixture)
        pair = a * self.vocabulary + b
        seen = self.joint.counts.lookup(m * self.joint.size + pair)
        coarse = self.coarse.probability(a, b, m)
        fits = [self.joint.probability(m, pair, coarse, beta, seen).double().log().mean() for beta in BETAS]
        return BETAS[int(torch.stack(fits).argmax())]

    def to(self, device: torch.device | str) -> LikelihoodTable:
        """Move the table to a device."""
        where = torch.device(device)
        nearest = None if self.nearest is None else self.nearest.to(where)
        return replace(self, joint=self.joint.to(where), coarse=self.coarse.to(where), nearest=nearest)

    def save(self, path: Path, compress: bool = False) -> None:
        """Write the table to a safetensors file, all at once; OutputError if it cannot be written.

        If ``compress``, it takes half the bytes, and seconds per million counts.
        """
        tensors = pack("joint", self.joint)
        if self.pruned:
            tensors["unigram"] = self.coarse.unigram
            for name, part in self.coarse.parts.items():
                tensors |= pack(name, part)
        if self.nearest is not None:
            tensors["nearest"] = self.nearest
        numbers = {"vocabulary": self.vocabulary, "pairs": self.pairs, "beta": self.beta}
        entries = {name: repr(value) for name, value in numbers.items()}
        write(
            Path(path),
            tensors,
            {"codec": self.codec, "symmetric": str(self.symmetric).lower(), **entries},
            compress,
        )

    @classmethod
    def load(cls, path: Files) -> LikelihoodTable:
        """Read a table and check it; PriorError if it is missing, of another format, or damaged."""
        tensors, metadata = read(path)
        v, pairs = int(number(metadata, "vocabulary", path)), int(number(metadata, "pairs", path, 2.0**48))
        symmetric = metadata.get("symmetric") == "true"
        joint = unpack("joint", tensors, v, v * v, path)
        check(path, joint.counts.total <= pairs * (1 + symmetric), "its counts do not add up")
        if "unigram" in tensors:
            second = None if symmetric else unpack("second", tensors, v, v, path)
            coarse = BackOff(unpack("first", tensors, v, v, path), second, tensors["unigram"])
            check(path, len(coarse.unigram) == v and int(coarse.unigram.min()) >= 0, "its unigram is damaged")
        else:
            coarse = BackOff.of(joint.counts, v, symmetric)
        check(path, coarse.total == pairs * (1 + symmetric), "its counts do not add up")
        nearest = tensors.get("nearest")
        if nearest is not None:
            inside = len(nearest) == v and int(nearest.min()) >= 0 and int(nearest.max()) < v
            check(path, inside, "its map of nearest codes is damaged")
        codec, beta = metadata.get("codec", ""), number(metadata, "beta", path, 1e9)
        return cls(v, codec, pairs, symmetric, joint, coarse, beta, nearest)

    def _held_out(self, *tokens: Tensor) -> list[Tensor]:
        flat = check_tokens(self.vocabulary, *tokens)
        if not flat[0].numel():
            raise InputError(
                "no held-out tokens to compare with", "give at least one mixture and its sources"
            )
        return [t.to(self.coarse.unigram.device) for t in flat]
