"""The token posterior: prior times likelihood, at the candidates only."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from sepcli.errors import InputError, PriorError, UsageError
from sepcli.priors.lass.posterior import LassPosterior
from sepcli.priors.lass.settings import LassSettings
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.protocols import Candidates
from sepcli.samplers.ancestral import Ancestral
from sepcli.samplers.beam import Beam

CODES = 7


class ChainState(NamedTuple):
    past: Tensor
    """(R, 2), the last tokens."""


class ChainPrior:
    """Two Markov chains; every source starts at code 0."""

    def __init__(self, seed: int = 0) -> None:
        g = torch.Generator().manual_seed(seed)
        self.chains = torch.randn(2, CODES, CODES, generator=g).log_softmax(-1)

    def start(self, rows: int) -> ChainState:
        return ChainState(torch.zeros(rows, 2, dtype=torch.int64, device=self.chains.device))

    def step(self, state: ChainState, tokens: Tensor | None) -> tuple[Tensor, ChainState]:
        past = state.past if tokens is None else tokens
        return torch.stack([self.chains[k][past[:, k]] for k in range(2)], dim=1), ChainState(past)

    def select(self, state: ChainState, rows: Tensor) -> ChainState:
        return ChainState(state.past[rows])


def table(unseen: int | None = None) -> LikelihoodTable:
    g = torch.Generator().manual_seed(1)
    a, b = torch.randint(0, CODES, (2, 60), generator=g)
    m = (a * b + torch.randint(0, 3, a.shape, generator=g)) % CODES
    counter = TripleCounter(CODES)
    counter.add(a[m != unseen], b[m != unseen], m[m != unseen])
    return LikelihoodTable.of(counter, "hash")


MIXTURE = torch.tensor([[3, 1, 0], [5, 5, 2], [0, 6, 4]])


def two_steps(posterior: LassPosterior) -> tuple[Candidates, Candidates, Tensor]:
    """The first step with one hypothesis, the second with two after the first two candidates."""
    first, state = posterior.step(posterior.start(1), None)
    state = posterior.select(state, torch.zeros(posterior.windows, 2, dtype=torch.int64))
    tokens = first.tokens[:, :2]
    second, _ = posterior.step(state, tokens)
    return first, second, tokens


@pytest.mark.parametrize("settings", [LassSettings(), LassSettings(lam=3.0, temperature=0.5)])
def test_scores_are_prior_plus_likelihood(settings: LassSettings) -> None:
    prior, likelihood = ChainPrior(), table()
    first, second, past = two_steps(LassPosterior(prior, likelihood, MIXTURE, settings))
    for t, (found, before) in enumerate([(first, torch.zeros(3, 1, 2, dtype=torch.int64)), (second, past)]):
        assert found.log_prob.shape == (3, before.shape[1], found.tokens.shape[1])
        for w in range(3):
            for h in range(before.shape[1]):
                real = found.log_prob[w, h] > -torch.inf
                a, b = found.tokens[w, real].unbind(-1)
                expected = sum(prior.chains[k][before[w, h, k]][z] for k, z in enumerate((a, b)))
                m = MIXTURE[w, t].expand_as(a)
                expected = expected / settings.temperature + settings.lam * likelihood.log_likelihood(a, b, m)
                assert torch.allclose(found.log_prob[w, h, real], expected, atol=1e-5)


def test_candidates_are_the_observed_pairs() -> None:
    likelihood = table()
    found, _, _ = two_steps(LassPosterior(ChainPrior(), likelihood, MIXTURE))
    keys = likelihood.joint.counts.keys
    for w in range(3):
        real = found.log_prob[w, 0] > -torch.inf
        pairs = keys[keys // CODES**2 == MIXTURE[w, 0]] % CODES**2
        assert torch.equal(found.tokens[w, real] @ torch.tensor([CODES, 1]), pairs)


@pytest.mark.parametrize("r", [1, 3, CODES, 50])
def test_a_shortlist_adds_each_pair_once(r: int) -> None:
    prior, likelihood = ChainPrior(), table()
    observed, _, _ = two_steps(LassPosterior(prior, likelihood, MIXTURE))
    found, _, _ = two_steps(LassPosterior(prior, likelihood, MIXTURE, LassSettings(shortlist=r)))
    for w in range(3):
        real = found.log_prob[w, 0] > -torch.inf
        pairs = [tuple(p) for p in found.tokens[w, real].tolist()]
        before = {tuple(p) for p in observed.tokens[w, observed.log_prob[w, 0] > -torch.inf].tolist()}
        best = [prior.chains[k][0].topk(min(r, CODES)).indices.tolist() for k in range(2)]
        assert len(pairs) == len(set(pairs))
        assert set(pairs) == before | {(a, b) for a in best[0] for b in best[1]}
        a, b = found.tokens[w, real].unbind(-1)
        expected = likelihood.log_likelihood(a, b, MIXTURE[w, 0].expand_as(a))
        expected += prior.chains[0][0][a] + prior.chains[1][0][b]
        assert torch.allclose(found.log_prob[w, 0, real], expected, atol=1e-5)


@pytest.mark.parametrize("r", [0, 2])
@pytest.mark.parametrize("near", [False, True])
def test_an_unseen_mixture_code_is_no_reason_to_stop(r: int, near: bool) -> None:
    likelihood = table(unseen=3)
    if near:
        likelihood = replace(likelihood, nearest=torch.tensor([0, 1, 2, 2, 4, 5, 6]))
    first, second, _ = two_steps(LassPosterior(ChainPrior(), likelihood, MIXTURE, LassSettings(shortlist=r)))
    assert torch.isfinite(first.log_prob).any(-1).all()
    assert torch.isfinite(second.log_prob).any(-1).all()
    assert not first.log_prob.isnan().any()


@pytest.mark.parametrize("shortlist", [0, 3])
def test_a_window_does_not_depend_on_the_others(shortlist: int) -> None:
    settings = LassSettings(shortlist=shortlist, max_candidates=5)
    together = two_steps(LassPosterior(ChainPrior(), table(), MIXTURE, settings))
    alone = two_steps(LassPosterior(ChainPrior(), table(), MIXTURE[1:2], settings))
    for all_, one in zip(together[:2], alone[:2], strict=True):
        real, own = all_.log_prob[1, 0] > -torch.inf, one.log_prob[0, 0] > -torch.inf
        assert torch.equal(all_.tokens[1, real], one.tokens[0, own])
        assert torch.equal(all_.log_prob[1][:, real], one.log_prob[0][:, own])


def test_at_most_max_candidates_are_scored() -> None:
    posterior = LassPosterior(ChainPrior(), table(), MIXTURE, LassSettings(max_candidates=2))
    found, _ = posterior.step(posterior.start(4), None)
    assert ((found.log_prob > -torch.inf).sum(-1) <= 2).all()
    assert (posterior.windows, posterior.length) == (3, 3)


def test_a_posterior_without_likelihood_is_the_prior() -> None:
    prior = ChainPrior()
    posterior = LassPosterior(prior, table(), MIXTURE, LassSettings(lam=0.0))
    found, _ = posterior.step(posterior.start(1), None)
    real = found.log_prob[0, 0] > -torch.inf
    a, b = found.tokens[0, real].unbind(-1)
    assert torch.allclose(found.log_prob[0, 0, real], prior.chains[0][0][a] + prior.chains[1][0][b])


@pytest.mark.parametrize(
    "change",
    [{"lam": -1.0}, {"temperature": 0.0}, {"max_candidates": 0}, {"shortlist": -1}, {"lam": float("nan")}],
)
def test_settings_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        LassSettings(**change)  # type: ignore[arg-type]


def test_wrong_mixtures_and_priors_are_refused() -> None:
    for bad in (MIXTURE[0], MIXTURE[:0], MIXTURE + CODES, MIXTURE - 10):
        with pytest.raises(InputError):
            LassPosterior(ChainPrior(), table(), bad)
    counter = TripleCounter(CODES + 1)
    counter.add(MIXTURE, MIXTURE, MIXTURE)
    posterior = LassPosterior(ChainPrior(), LikelihoodTable.of(counter, "hash"), MIXTURE)
    with pytest.raises(PriorError, match=r"(?=.*\(2, 7\))(?=.*\(2, 8\))"):
        posterior.step(posterior.start(1), None)


@pytest.mark.parametrize("shortlist", [0, CODES])
def test_a_wide_beam_finds_the_likeliest_sequence(shortlist: int) -> None:
    prior, likelihood = ChainPrior(), table()
    posterior = LassPosterior(prior, likelihood, MIXTURE, LassSettings(shortlist=shortlist))
    found = Beam(CODES**4)(posterior)
    for w in range(3):
        reach = torch.zeros(CODES, CODES).log()
        reach[0, 0] = 0.0  # Viterbi over pairs (a, b)
        for t in range(3):
            into = (prior.chains[0][:, None, :, None] + prior.chains[1][None, :, None, :]).flatten(0, 1)
            reach = (reach.flatten()[:, None, None] + into).amax(0)
            a, b = torch.meshgrid(torch.arange(CODES), torch.arange(CODES), indexing="ij")
            m = MIXTURE[w, t].expand_as(a)
            known = torch.isin((m * CODES + a) * CODES + b, likelihood.joint.counts.keys)
            reach = reach + likelihood.log_likelihood(a, b, m)
            if not shortlist:
                reach = reach.masked_fill(~known, -torch.inf)
        assert found.log_prob[w, 0] == pytest.approx(reach.max().item(), abs=1e-4)


def test_a_draw_does_not_depend_on_other_windows() -> None:
    seeds = torch.arange(6).view(3, 2)
    together = Ancestral()(LassPosterior(ChainPrior(), table(), MIXTURE), seeds)
    alone = Ancestral()(LassPosterior(ChainPrior(), table(), MIXTURE[2:]), seeds[2:])
    assert torch.equal(together.tokens[2], alone.tokens[0])
    assert torch.equal(together.log_prob[2], alone.log_prob[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("shortlist", [0, 3])
def test_a_cuda_device_finds_the_same(shortlist: int) -> None:
    prior, settings, seeds = ChainPrior(), LassSettings(shortlist=shortlist), torch.arange(6).view(3, 2)
    here = LassPosterior(prior, table(), MIXTURE, settings)
    prior_there = ChainPrior()
    prior_there.chains = prior.chains.cuda()
    there = LassPosterior(prior_there, table(), MIXTURE.cuda(), settings)
    for sampler in (Ancestral(), Ancestral(top_k=3), Beam(4)):
        assert torch.equal(sampler(there, seeds).tokens.cpu(), sampler(here, seeds).tokens)
