"""Hypotheses that share their past say what they say alone, and each history is computed once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sepcli.priors.lass.histories import SPARE, Tree
from sepcli.priors.lass.posterior import LassPosterior
from sepcli.priors.lass.settings import LassSettings
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
from sepcli.samplers.beam import Beam

V = 11
CLOSE = {"atol": 1e-4, "rtol": 1e-3}


def prior(context: int = 6) -> TransformerPrior:
    """Untrained, with weights large enough that everything has an effect."""
    config = TransformerConfig(V, ("a", "b"), 16, layers=2, heads=2, head_dim=8, context=context, mlp_ratio=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TransformerPrior(config)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.data = 0.4 * torch.randn_like(parameter)
    return model.eval()


def at_once(model: TransformerPrior, past: Tensor) -> Tensor:
    """Log-probabilities (R, K, V) after tokens (R, L, K), without a cache."""
    rows, length, sources = past.shape
    longer = torch.cat([past, past.new_zeros(rows, 1, sources)], dim=1).transpose(1, 2).flatten(0, 1)
    logits = model.logits(longer, torch.tensor(model.sources).repeat(rows))[:, length]
    return logits.log_softmax(-1).view(rows, sources, V)


class Uncached:
    """The same prior, which computes everything anew at every step."""

    def __init__(self, model: TransformerPrior) -> None:
        self.model = model

    def start(self, rows: int) -> Tensor:
        return torch.zeros(rows, 0, 2, dtype=torch.int64)

    def step(self, state: Tensor, tokens: Tensor | None) -> tuple[Tensor, Tensor]:
        past = state if tokens is None else torch.cat([state, tokens[:, None]], dim=1)
        return at_once(self.model, past), past

    def select(self, state: Tensor, rows: Tensor) -> Tensor:
        return state[rows]

    def log_prob(self, tokens: Tensor) -> Tensor:
        return self.model.log_prob(tokens)


@torch.inference_mode()
@pytest.mark.parametrize("context", [4, 100])
def test_choosing_and_going_on_many_times(context: int) -> None:
    model, uncached = prior(context), Uncached(prior(context))
    g = torch.Generator().manual_seed(1)
    state, alone, tokens = model.start(3), uncached.start(3), None
    for _ in range(40):
        found, state = model.step(state, tokens)
        expected, alone = uncached.step(alone, tokens)
        torch.testing.assert_close(found, expected, **CLOSE)
        rows = torch.randint(0, len(alone), (9,), generator=g)
        state, alone = model.select(state, rows), uncached.select(alone, rows)
        tokens = torch.randint(0, 3, (9, 2), generator=g)
    assert isinstance(state.cache, Tree)
    if context == 4:  # what is out of sight was left behind
        assert state.cache.pool.positions.shape[1] < 40 + SPARE


@torch.inference_mode()
def test_an_equal_history_is_held_and_computed_once() -> None:
    model = prior()
    _, state = model.step(model.start(2), None)
    state = model.select(state, torch.tensor([0, 0, 0, 0, 1]))
    found, state = model.step(state, torch.tensor([[5, 1], [5, 2], [5, 3], [5, 1], [5, 1]]))
    assert len(state.cache.seen) == 6  # 5 and 1, 2, 3 of the first row, 5 and 1 of the second
    assert torch.equal(found[0], found[3])
    assert torch.equal(state.cache.where[0], state.cache.where[3])


@torch.inference_mode()
def test_trunk_and_branch_both_go_on() -> None:
    model, tokens = prior(), torch.randint(0, V, (6, 2, 2), generator=torch.Generator().manual_seed(2))
    _, state = model.step(model.start(2), None)
    trunk = model.select(state, torch.tensor([0, 1]))
    _, trunk = model.step(trunk, tokens[0])
    branch = model.select(trunk, torch.tensor([1, 0]))
    past = {"trunk": tokens[:1], "branch": tokens[:1].flip(1)}
    states: dict[str, Any] = {"trunk": trunk, "branch": branch}
    for t, name in enumerate(["branch", "trunk", "trunk", "branch", "branch"], start=1):
        found, states[name] = model.step(states[name], tokens[t])
        past[name] = torch.cat([past[name], tokens[t : t + 1]])
        torch.testing.assert_close(found, at_once(model, past[name].transpose(0, 1)), **CLOSE)


@torch.inference_mode()
def test_rows_that_share_nothing_see_as_far_as_the_context() -> None:
    model, z = prior(context=70), torch.randint(0, V, (2, 150, 2), generator=torch.Generator().manual_seed(6))
    logits = model.logits(z.transpose(1, 2).flatten(0, 1), torch.tensor([0, 1, 0, 1])).log_softmax(-1)
    state, last = model.start(2), None
    for t in range(150):
        found, state = model.step(state, last)
        torch.testing.assert_close(found, logits[:, t].view(2, 2, V), **CLOSE)
        last = z[:, t]


@torch.inference_mode()
def test_bfloat16_is_close() -> None:
    model, z = prior(), torch.randint(0, V, (4, 12, 2), generator=torch.Generator().manual_seed(3))
    model.step_type = torch.bfloat16
    _, state = model.step(model.start(4), None)
    for t in range(12):
        found, state = model.step(state, z[:, t])
    assert found.dtype == torch.float32
    difference = (found - at_once(model, z)).abs()
    assert 0 < float(difference.mean()) < 0.05
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(4, 2))


def table() -> LikelihoodTable:
    a, b = torch.randint(0, V, (2, 300), generator=torch.Generator().manual_seed(4))
    counter = TripleCounter(V)
    counter.add(a, b, (a + b) % V)
    return LikelihoodTable.of(counter, "hash")


@pytest.mark.parametrize("shortlist", [0, 3])
def test_a_beam_with_the_cache_finds_what_it_finds_without(shortlist: int) -> None:
    mixture = torch.randint(0, V, (3, 20), generator=torch.Generator().manual_seed(5))
    settings = LassSettings(shortlist=shortlist)
    found, expected, alone = (
        Beam(7)(LassPosterior(model, table(), m, settings))
        for model, m in ((prior(), mixture), (Uncached(prior()), mixture), (prior(), mixture[1:2]))
    )
    assert torch.equal(found.tokens, expected.tokens)
    torch.testing.assert_close(found.log_prob, expected.log_prob, atol=1e-3, rtol=1e-5)
    assert torch.equal(found.tokens[1], alone.tokens[0])
