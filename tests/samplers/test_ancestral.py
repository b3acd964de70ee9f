"""Ancestral, top-k and greedy sampling against exact conditionals."""

from __future__ import annotations

import pytest
import torch
from chain_posterior import ChainPosterior

from sepcli.errors import UsageError
from sepcli.samplers.ancestral import Ancestral, Greedy
from sepcli.samplers.beam import Beam


def seeds(windows: int, draws: int, first: int = 0) -> torch.Tensor:
    return torch.arange(first, first + windows * draws).view(windows, draws)


def test_frequencies_are_those_of_the_exact_conditionals() -> None:
    posterior, draws = ChainPosterior(windows=1, length=2, seed=3), 6000
    state = posterior.start(1)
    first, state = posterior.step(state, None)
    p_first = first.log_prob[0, 0].softmax(-1)
    second, _ = posterior.step(posterior.select(state, torch.zeros(1, 9, dtype=torch.int64)), first.tokens)
    expected = (p_first[:, None] * second.log_prob[0].softmax(-1)).flatten() * draws
    tokens = Ancestral()(posterior, seeds(1, draws)).tokens[0]
    code = tokens[:, 0, 0] * 27 + tokens[:, 0, 1] * 9 + tokens[:, 1, 0] * 3 + tokens[:, 1, 1]
    seen = torch.bincount(code, minlength=81).float()
    big = expected >= 5
    chi = ((seen - expected)[big] ** 2 / expected[big]).sum().item()
    freedom = int(big.sum()) - 1
    assert chi < freedom + 4 * (2 * freedom) ** 0.5


def test_log_prob_is_the_score_of_the_tokens() -> None:
    posterior = ChainPosterior(windows=2, length=3, seed=5)
    sequences, scores = posterior.exhaustive()
    found = Ancestral()(posterior, seeds(2, 6))
    for w in range(2):
        for tokens, score in zip(found.tokens[w], found.log_prob[w], strict=True):
            at = (sequences == tokens).flatten(1).all(1).nonzero().item()
            assert score == pytest.approx(scores[w, at].item(), abs=1e-5)


def test_greedy_is_a_beam_of_one_and_top_one() -> None:
    posterior = ChainPosterior(windows=8, length=6, codes=4, seed=6)
    greedy = Greedy()(posterior, seeds(8, 3))
    beam = Beam(1)(posterior)
    top = Ancestral(top_k=1)(posterior, seeds(8, 3))
    assert greedy.tokens.shape == (8, 3, 6, 2)
    assert torch.equal(greedy.tokens[:, :1], beam.tokens)
    assert torch.equal(greedy.tokens, top.tokens)
    assert torch.allclose(greedy.log_prob[:, :1], beam.log_prob)


def test_top_k_stays_among_the_best() -> None:
    posterior = ChainPosterior(windows=1, length=1, seed=7)
    (listed, score), _ = posterior.step(posterior.start(1), None)
    allowed = {tuple(t) for t in listed[0, score[0, 0].topk(3).indices].tolist()}
    drawn = {tuple(t) for t in Ancestral(top_k=3)(posterior, seeds(1, 300)).tokens[0, :, 0].tolist()}
    assert drawn == allowed


def test_a_draw_depends_on_its_seed_alone() -> None:
    posterior = ChainPosterior(windows=3, length=6, seed=8)
    together = Ancestral()(posterior, seeds(3, 4))
    alone = Ancestral()(posterior.only(1), seeds(3, 4)[1:2, 2:3])
    assert torch.equal(alone.tokens[0, 0], together.tokens[1, 2])
    assert torch.equal(alone.log_prob[0, 0], together.log_prob[1, 2])
    again = Ancestral()(posterior, seeds(3, 4))
    assert torch.equal(again.tokens, together.tokens)
    other = Ancestral()(posterior, seeds(3, 4, first=100))
    assert not torch.equal(other.tokens, together.tokens)


@pytest.mark.parametrize("top_k", [None, 4])
def test_padding_changes_nothing(top_k: int | None) -> None:
    plain = Ancestral(top_k)(ChainPosterior(windows=3, length=6), seeds(3, 50))
    padded = Ancestral(top_k)(ChainPosterior(windows=3, length=6, padding=91), seeds(3, 50))
    assert torch.equal(plain.tokens, padded.tokens)
    assert torch.equal(plain.log_prob, padded.log_prob)


def test_tokens_may_enter_a_graph() -> None:
    tokens = Ancestral()(ChainPosterior(windows=1, length=2), seeds(1, 2)).tokens
    table = torch.ones(3, requires_grad=True)
    (table[tokens] ** 2).sum().backward()
    assert table.grad is not None


def test_refuses_wrong_settings_and_seeds() -> None:
    with pytest.raises(UsageError, match="top_k"):
        Ancestral(top_k=0)
    with pytest.raises(UsageError, match=r"\(3, 1\)"):
        Ancestral()(ChainPosterior(windows=2, length=2), seeds(3, 1))
