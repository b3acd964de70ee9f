"""Beam search against exhaustive search."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from chain_posterior import ChainPosterior, ChainState
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.protocols import Candidates
from sepcli.samplers.beam import Beam
from sepcli.samplers.hypotheses import best


def test_a_beam_as_wide_as_the_space_is_exhaustive_search() -> None:
    posterior = ChainPosterior(windows=3, length=3)
    sequences, scores = posterior.exhaustive()
    found = Beam(width=len(sequences))(posterior)
    falling, order = scores.sort(dim=1, descending=True)
    assert torch.allclose(found.log_prob, falling, atol=1e-5)
    assert torch.equal(found.tokens, sequences[order])


def test_the_first_hypothesis_is_the_likeliest_sequence() -> None:
    posterior = ChainPosterior(windows=2, length=4, seed=1)
    sequences, scores = posterior.exhaustive()
    found = Beam(width=729)(posterior)
    assert torch.equal(found.tokens[:, 0], sequences[scores.argmax(1)])
    assert torch.allclose(found.log_prob[:, 0], scores.amax(1), atol=1e-5)


def test_scores_are_those_of_the_tokens() -> None:
    posterior = ChainPosterior(windows=3, length=4, seed=2)
    sequences, scores = posterior.exhaustive()
    found = Beam(width=7)(posterior)
    for w in range(3):
        for tokens, score in zip(found.tokens[w], found.log_prob[w], strict=True):
            at = (sequences == tokens).flatten(1).all(1).nonzero().item()
            assert score == pytest.approx(scores[w, at].item(), abs=1e-5)


def test_wider_beams_find_more_on_average() -> None:
    posteriors = [ChainPosterior(windows=20, length=5, codes=4, seed=s) for s in range(3)]
    means = [sum(Beam(h)(p).log_prob[:, 0].mean().item() for p in posteriors) for h in (1, 2, 4, 8, 16, 64)]
    assert all(wide >= narrow for narrow, wide in pairwise(means))


def test_fewer_sequences_than_beams_leave_dead_beams() -> None:
    posterior = ChainPosterior(windows=2, length=2)
    found = Beam(width=100)(posterior)
    assert found.tokens.shape == (2, 100, 2, 2)
    assert torch.isfinite(found.log_prob[:, :81]).all()
    assert (found.log_prob[:, 81:] == -torch.inf).all()


def test_padding_and_neighbors_change_nothing() -> None:
    posterior = ChainPosterior(windows=3, length=5, seed=4)
    padded = ChainPosterior(windows=3, length=5, seed=4, padding=55)
    for h in (1, 5, 20):
        found, other = Beam(h)(posterior), Beam(h)(padded)
        assert torch.equal(found.tokens, other.tokens)
        assert torch.equal(found.log_prob, other.log_prob)
        alone = Beam(h)(posterior.only(1))
        assert torch.equal(alone.tokens[0], found.tokens[1])
        assert torch.equal(alone.log_prob[0], found.log_prob[1])


class OnePath(ChainPosterior):
    """A window that has one candidate where the others have all, and one where nothing is possible."""

    def step(self, state: ChainState, tokens: Tensor | None) -> tuple[Candidates, ChainState]:
        (listed, score), state = super().step(state, tokens)
        score = score.clone()
        score[0, :, 1:] = -torch.inf
        score[1] = -torch.inf
        return Candidates(listed, score), state


def test_windows_with_few_or_no_candidates_do_not_disturb_the_others() -> None:
    found = Beam(4)(OnePath(windows=3, length=4))
    plain = Beam(4)(ChainPosterior(windows=3, length=4))
    assert (found.tokens[0, 0] == 0).all()
    assert torch.isfinite(found.log_prob[0, 0])
    assert (found.log_prob[0, 1:] == -torch.inf).all()
    assert (found.log_prob[1] == -torch.inf).all()
    assert torch.equal(found.tokens[2], plain.tokens[2])


def test_progress_and_settings() -> None:
    steps: list[tuple[int, int]] = []
    Beam(2)(ChainPosterior(windows=1, length=3), None, lambda done, of: steps.append((done, of)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(UsageError, match="width"):
        Beam(0)


@pytest.mark.parametrize(("n", "k"), [(5, 5), (40, 3), (1000, 1), (1000, 8), (2049, 8), (7, 100)])
def test_best_ranks_as_a_stable_sort_does(n: int, k: int) -> None:
    g = torch.Generator().manual_seed(n)
    scores = torch.randint(-20, 20, (4, 3, n), generator=g) / 4.0  # many ties, both signs, some -0.0
    scores[scores < -3] = -torch.inf
    assert torch.equal(best(scores, k), scores.argsort(dim=-1, descending=True, stable=True)[..., :k])
    assert torch.equal(best(torch.zeros(2, n), k), torch.arange(min(k, n)).expand(2, -1))
