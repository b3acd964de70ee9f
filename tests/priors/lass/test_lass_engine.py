"""LASS put together from exact parts: what can be known about the sources of a toy mixture is found."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.priors.lass.engine import LassEngine
from sepcli.priors.lass.settings import LassSettings
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.samplers.ancestral import Ancestral, Greedy
from sepcli.samplers.beam import Beam
from sepcli.samplers.construct import TokenSampler

LEVELS = 16


class Levels:
    """A codec without loss: one token per two samples, the value v / V twice."""

    vocabulary = LEVELS

    def encode(self, signal: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(signal, (0, signal.shape[-1] % 2))
        return (padded[:, 0, ::2] * LEVELS).round().long()

    def decode(self, tokens: Tensor) -> Tensor:
        return (tokens / LEVELS).repeat_interleave(2, dim=-1)[:, None]


class Last(NamedTuple):
    tokens: Tensor


class Chains:
    """Markov chains that never leave their levels: 0 … 3 for the first source, 0, 4, 8, 12 for the second."""

    def __init__(self, reach: tuple[range, range] = (range(4), range(0, 16, 4))) -> None:
        g = torch.Generator().manual_seed(0)
        logits = torch.randn(2, LEVELS, LEVELS, generator=g)
        outside = torch.ones(2, LEVELS, dtype=torch.bool)
        for k, levels in enumerate(reach):
            outside[k, list(levels)] = False
        self.chains = logits.masked_fill(outside[:, None], -60.0).log_softmax(-1)

    def start(self, rows: int) -> Last:
        return Last(torch.zeros(rows, 2, dtype=torch.int64))

    def step(self, state: Last, tokens: Tensor | None) -> tuple[Tensor, Last]:
        last = state.tokens if tokens is None else tokens
        return torch.stack([self.chains[k][last[:, k]] for k in range(2)], dim=1), Last(last)

    def select(self, state: Last, rows: Tensor) -> Last:
        return Last(state.tokens[rows])


def separator(sampler: TokenSampler, prior: Chains | None = None) -> LassEngine:
    """Sums are exact: the table has counted every pair of levels whose sum is a level, once."""
    a, b = torch.cartesian_prod(torch.arange(LEVELS), torch.arange(LEVELS)).unbind(-1)
    fits = a + b < LEVELS
    counter = TripleCounter(LEVELS)
    counter.add(a[fits], b[fits], (a + b)[fits])
    table = LikelihoodTable.of(counter, "levels")
    return LassEngine(
        Levels(),
        prior or Chains(),
        table,
        sampler,
        LassSettings(lam=3.0),
        ("low", "high"),
        (1.0, 1.0),
        8000,
        torch.device("cpu"),
    )


def sources(batch: int, length: int) -> Tensor:
    """(B, 2, 1, T) that the chains could have made."""
    g = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 4, (batch, 2, -(-length // 2)), generator=g) * torch.tensor([[1], [4]])
    return (tokens / LEVELS).repeat_interleave(2, dim=-1)[:, :, None, :length]


def seeds(batch: int, draws: int) -> Tensor:
    return torch.arange(batch * draws).view(batch, draws)


SAMPLERS = [Greedy(), Ancestral(), Ancestral(top_k=4), Beam(width=4)]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("length", [1, 2, 7, 40])
def test_sources_that_the_mixture_identifies_are_recovered(sampler: TokenSampler, length: int) -> None:
    x = sources(3, length)
    found = separator(sampler).sample(x.sum(1), seeds(3, 1))
    assert found.shape == (3, 1, 2, 1, length)
    torch.testing.assert_close(found[:, 0], x)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_every_draw_of_an_ambiguous_mixture_explains_it(sampler: TokenSampler) -> None:
    engine = separator(sampler, Chains((range(16), range(16))))
    m = sources(2, 20).sum(1)
    found = engine.sample(m, seeds(2, 3))
    assert found.shape == (2, 3, 2, 1, 20)
    torch.testing.assert_close(found.sum(2), m[:, None].expand(-1, 3, -1, -1))
    if sampler == Ancestral():
        assert (found[:, 0] != found[:, 1]).any()
    if sampler == Greedy():
        torch.testing.assert_close(found[:, 0], found[:, 1])


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_an_item_depends_on_its_own_seeds_and_on_nothing_else(sampler: TokenSampler) -> None:
    engine = separator(sampler, Chains((range(16), range(16))))
    m, s = sources(3, 30).sum(1), seeds(3, 2)
    together = engine.sample(m, s)
    assert torch.equal(together, engine.sample(m, s))
    assert torch.equal(together[1:2], engine.sample(m[1:2], s[1:2]))
    if sampler == Ancestral():
        assert not torch.equal(together, engine.sample(m, s + 100))


def test_a_beam_has_no_more_draws_than_its_width() -> None:
    engine = separator(Beam(width=2))
    assert engine.sample(sources(1, 4).sum(1), seeds(1, 2)).shape[1] == 2
    with pytest.raises(UsageError, match=r"(?=.*\b2\b)(?=.*\b3\b)") as refused:
        engine.sample(sources(1, 4).sum(1), seeds(1, 3))
    assert "width" in refused.value.hint


def test_progress_is_told_token_by_token() -> None:
    told: list[tuple[int, int]] = []
    separator(Greedy()).sample(
        sources(2, 9).sum(1), seeds(2, 1), lambda done, total: told.append((done, total))
    )
    assert told == [(t, 5) for t in range(1, 6)]
