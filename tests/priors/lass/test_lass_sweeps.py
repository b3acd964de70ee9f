"""More than two sources by pairs: the best there is on a small problem, costs that never rise, batches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from exact_codes import LENGTH, LEVELS, ExactCodec, MarkovPrior, pair_table
from loading import engine_of
from tiny_priors import write_lass_prior
from tiny_tokens import make_tokens
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.priors.lass.choice import nearest_exact
from sepcli.priors.lass.engine import LassEngine
from sepcli.priors.lass.posterior import LassPosterior
from sepcli.priors.lass.settings import LassSettings
from sepcli.priors.lass.sweeps import PairSweeps
from sepcli.samplers.ancestral import Ancestral
from sepcli.samplers.beam import Beam
from sepcli.samplers.construct import TokenSampler

NOISE = 0.5
PRIOR = MarkovPrior()


def sweeps_of(count: int, sampler: TokenSampler, **changes: Any) -> PairSweeps:
    codec, table = ExactCodec(), pair_table()

    def posterior_of(both: Tensor, pair: tuple[int, int]) -> LassPosterior:
        return LassPosterior(PRIOR.of(pair), table, codec.encode(both), LassSettings(max_candidates=10_000))

    settings = {"sweeps": 4, "chains": 3, "proposals": 40, "noise": NOISE, **changes}
    return PairSweeps(codec, PRIOR.of, posterior_of, sampler, count, **settings)


def cost(mixture: Tensor, tokens: Sequence[Sequence[int]]) -> float:
    """That of tokens (K, L), from the definitions."""
    z = torch.tensor(tokens)
    error = (mixture.flatten() - LEVELS[z].sum(0)).square().sum()
    log_prior = sum(float(PRIOR.of((0,)).log_prob(row[None, None])) for row in z)
    return float(error) / (2 * NOISE**2) - log_prior


def least_cost(mixture: Tensor, count: int) -> float:
    """The least cost of all tokens of all sources."""
    rows = torch.tensor(list(itertools.product(range(len(LEVELS)), repeat=LENGTH)))
    log_prior = PRIOR.of((0,)).log_prob(rows[:, None])
    sums, total = LEVELS[rows], log_prior
    for _ in range(count - 1):
        sums = (sums[:, None] + LEVELS[rows]).flatten(0, 1)
        total = (total[:, None] + log_prior).flatten()
    return float(((mixture.flatten() - sums).square().sum(-1) / (2 * NOISE**2) - total).min())


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("sampler", [Beam(40), Ancestral()])
def test_the_best_of_all_is_what_exhaustive_search_finds(count: int, sampler: TokenSampler) -> None:
    generator = torch.Generator().manual_seed(count)
    for _ in range(4):
        mixture = 1.5 * count * torch.rand(1, 1, LENGTH, generator=generator)
        best = least_cost(mixture, count)
        tokens, costs = sweeps_of(count, sampler)(mixture, torch.tensor([[5]]))
        assert tokens.shape == (1, 1, count, LENGTH)
        assert float(costs) == pytest.approx(cost(mixture, tokens[0, 0].tolist()), rel=1e-4)
        assert float(costs) == pytest.approx(best, rel=1e-4)


def test_more_sweeps_never_cost_more_and_items_are_independent() -> None:
    mixture = 4 * torch.rand(3, 1, LENGTH, generator=torch.Generator().manual_seed(0))
    seeds = torch.tensor([[1, 2], [3, 4], [5, 6]])
    few = {"chains": 1, "proposals": 2}
    before = torch.full((3, 2), math.inf)
    for sweeps in (1, 2, 3):
        search = sweeps_of(3, Ancestral(), sweeps=sweeps, **few)
        tokens, costs = search(mixture, seeds)
        assert bool((costs <= before).all())
        before = costs
    alone = [search(mixture[n : n + 1], seeds[n : n + 1])[0] for n in range(3)]
    assert torch.equal(torch.cat(alone), tokens)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), None])
def test_the_nearest_exact_sources_of_three(bounds: tuple[float, float] | None) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = (1.0, 0.5, 0.25)
    sources, truth = torch.rand(2, 40, 3, 1, 4, generator=generator)
    sources = 1.5 * sources - 0.2
    mixture = sum(w * truth[:, k] for k, w in enumerate(weights))
    found = nearest_exact(sources, mixture, weights, bounds)
    alpha = torch.tensor(weights).view(-1, 1, 1)
    torch.testing.assert_close((alpha * found).sum(1), mixture, atol=1e-5, rtol=0)
    if bounds is not None:
        assert float(found.min()) >= 0
        assert float(found.max()) <= 1
    distance: Callable[[Tensor], Tensor] = lambda x: (x - sources).square().sum(1)  # noqa: E731
    for other in (truth, nearest_exact(truth, mixture, weights, bounds)):
        assert bool((distance(found) <= distance(other) + 1e-5).all())
    pair = nearest_exact(sources[:, :2], mixture, weights[:2], bounds)
    same = nearest_exact(
        torch.cat([sources[:, :2], 0 * mixture[:, None]], 1), mixture, (1.0, 0.5, 1e-6), bounds
    )
    torch.testing.assert_close(same[:, :2], pair, atol=1e-3, rtol=0)


def test_the_engine_separates_three_images(tmp_path: Path) -> None:
    folder = make_tokens(tmp_path / "tokens")
    engine = engine_of([str(folder)], (1.0, 1.0, 1.0), settings={"sweeps": "1", "chains": "2"})
    assert isinstance(engine, LassEngine)
    assert engine.names == ("digit-1", "digit-2", "digit-3")
    mixture, seeds = 2 * torch.rand(2, 1, 8, 8), torch.tensor([[1, 2], [3, 4]])
    sources = engine.sample(mixture, seeds)
    assert sources.shape == (2, 2, 3, 1, 8, 8)
    torch.testing.assert_close(sources.sum(2), mixture[:, None].expand(2, 2, 1, 8, 8), atol=1e-4, rtol=0)
    assert torch.equal(engine.sample(mixture[1:], seeds[1:]), sources[1:])
    assert engine.log_prior(sources[:, 0]).shape == (2,)
    with pytest.raises(UsageError) as raised:
        engine_of([str(folder)], (1.0, 1.0, 0.5))
    assert raised.value.argument == "weights"


def test_three_sources_of_audio_are_what_exhaustive_search_finds() -> None:
    settings = LassSettings(max_candidates=10_000, candidates=120, chains=3, noise=NOISE)
    engine = LassEngine(
        ExactCodec(),
        PRIOR.of((0, 1, 2)),
        pair_table(),
        Beam(40),
        settings,
        ("drums", "bass", "piano"),
        (1.0, 1.0, 1.0),
        8000,
        torch.device("cpu"),
        prior_of=PRIOR.of,
    )
    mixture = 4.5 * torch.rand(2, 1, LENGTH, generator=torch.Generator().manual_seed(7))
    sources = engine.sample(mixture, torch.tensor([[1], [2]]))
    assert sources.shape == (2, 1, 3, 1, LENGTH)
    for item, found in zip(
        mixture, ExactCodec().encode(sources.flatten(0, 2)).view(2, 3, LENGTH), strict=True
    ):
        assert cost(item, found.tolist()) == pytest.approx(least_cost(item, 3), rel=1e-4)


def test_a_prior_of_three_sources_of_audio_separates(tmp_path: Path) -> None:
    folder = write_lass_prior(tmp_path / "tiny", ("drums", "bass", "piano"))
    engine = engine_of([str(folder)], settings={"sweeps": "1", "chains": "2"})
    assert isinstance(engine, LassEngine)
    assert engine.names == ("drums", "bass", "piano")
    mixture = 0.3 * torch.randn(2, 1, 401, generator=torch.Generator().manual_seed(8))  # no whole token
    sources = engine.sample(mixture, torch.tensor([[1, 2], [3, 4]]))
    assert sources.shape == (2, 2, 3, 1, 401)
    assert torch.equal(engine.sample(mixture[1:], torch.tensor([[3, 4]])), sources[1:])
    assert engine.log_prior(sources[:, 0]).shape == (2,)
    with pytest.raises(UsageError) as raised:
        engine_of([str(folder)], settings={"context": "1"})
    assert raised.value.argument == "settings.context"
