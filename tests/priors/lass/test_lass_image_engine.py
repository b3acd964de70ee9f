"""LASS for images: the closest of the candidates, exact sums, draws that depend on their own seeds."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from loading import engine_of
from tiny_tokens import make_tokens
from torch import Tensor

from sepcli.errors import InputError, UsageError
from sepcli.priors.lass.choice import candidate_seeds, nearest_exact
from sepcli.priors.lass.engine import LassEngine
from sepcli.samplers.ancestral import Ancestral, Greedy
from sepcli.samplers.beam import Beam


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> LassEngine:
    folder = make_tokens(tmp_path_factory.mktemp("priors") / "tokens", classes=("a", "b"))
    engine = engine_of([str(folder)], (1.0, 1.0))
    assert isinstance(engine, LassEngine)
    return engine


def truth(batch: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, 2, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def change(engine: LassEngine, **changes: object) -> LassEngine:
    """The same engine with other settings, or other parts."""
    parts = {key: changes.pop(key) for key in ("sampler", "rows") if key in changes}
    return replace(engine, settings=replace(engine.settings, **changes), **parts)  # type: ignore[arg-type]


def plain(engine: LassEngine, **changes: object) -> LassEngine:
    """Without refinement and exactness: what the decoder makes of tokens."""
    return change(engine, **{"refine": 0, "exact": False, **changes})


def residual(mixture: Tensor, sources: Tensor) -> Tensor:
    """‖m - Σ x‖² of draws (B, S, 2, C, H, W): (B, S)."""
    return (mixture[:, None] - sources.sum(2)).square().flatten(2).sum(-1)


def exact_sum(sources: Tensor, total: Tensor) -> Tensor:
    return nearest_exact(sources, total, (1.0, 1.0), (0.0, 1.0))


def test_draws_are_images_that_sum_to_the_mixture(made: LassEngine) -> None:
    mixture = truth(3).sum(1)
    drawn = made.sample(mixture, torch.arange(6).view(3, 2))
    assert drawn.shape == (3, 2, 2, 1, 8, 8)
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    torch.testing.assert_close(drawn.sum(2), mixture[:, None].expand(-1, 2, -1, -1, -1))


def test_of_the_candidates_the_closest_is_taken(made: LassEngine) -> None:
    mixture, seeds = truth(2).sum(1), torch.tensor([[5, 6], [7, 8]])
    every = plain(made, candidates=1).sample(mixture, candidate_seeds(seeds, 6))
    error = residual(mixture, every).view(2, 2, 6)
    assert float(error.std(-1).min()) > 0
    best = plain(made, candidates=6).sample(mixture, seeds)
    torch.testing.assert_close(residual(mixture, best), error.amin(-1))
    shown = every.view(2, 2, 6, *every.shape[2:])
    for b, s in torch.cartesian_prod(torch.arange(2), torch.arange(2)).tolist():
        torch.testing.assert_close(best[b, s], shown[b, s, int(error[b, s].argmin())])


def test_the_prior_has_a_say_in_the_choice(made: LassEngine) -> None:
    mixture, seeds = truth(2).sum(1), torch.tensor([[5], [7]])
    tokens = plain(made, candidates=1).hypotheses(mixture, candidate_seeds(seeds, 6))
    every = plain(made, candidates=1).sample(mixture, candidate_seeds(seeds, 6))
    error, n = residual(mixture, every), torch.arange(2)
    likely = torch.stack([made.prior.log_prob(row.transpose(1, 2)) for row in tokens])
    assert likely.argmax(1).tolist() != error.argmin(1).tolist()  # so that the two disagree
    for noise in (0.1, 1.0, 1e4):
        best = plain(made, candidates=6, noise=noise).sample(mixture, seeds)[:, 0]
        cost = error / (2 * noise**2) - likely
        torch.testing.assert_close(best, every[n, cost.argmin(1)])
    torch.testing.assert_close(best, every[n, likely.argmax(1)])
    close = plain(made, candidates=6, noise=1e-3).sample(mixture, seeds)[:, 0]
    torch.testing.assert_close(close, every[n, error.argmin(1)])


def test_refinement_and_exactness_do_not_harm(made: LassEngine) -> None:
    mixture, seeds = truth(3).sum(1), torch.arange(3)[:, None]
    raw = plain(made).sample(mixture, seeds)
    refined = plain(made, refine=30).sample(mixture, seeds)
    assert bool((residual(mixture, refined) < residual(mixture, raw)).all())
    exact = plain(made, refine=30, exact=True).sample(mixture, seeds)
    torch.testing.assert_close(exact[:, 0], exact_sum(refined[:, 0], mixture))


def test_a_draw_depends_on_its_own_mixture_and_seed_only(made: LassEngine) -> None:
    mixture, seeds = truth(3).sum(1), torch.arange(6).view(3, 2)
    drawn = plain(made).sample(mixture, seeds)
    for rows in (1, 4, 7):  # however it is cut up
        torch.testing.assert_close(plain(made, rows=rows).sample(mixture, seeds), drawn)
    torch.testing.assert_close(plain(made).sample(mixture[1:2], seeds[1:2, 1:]), drawn[1:2, 1:])
    assert not torch.equal(drawn[:, 0], drawn[:, 1])


def test_searches_compare_what_they_find(made: LassEngine) -> None:
    mixture, seeds = truth(2).sum(1), torch.zeros(2, 2, dtype=torch.int64)
    beams = plain(made, sampler=Beam(width=6), candidates=6).sample(
        mixture, torch.zeros(2, 6, dtype=torch.int64)
    )
    error = residual(mixture, beams)
    assert bool((error.diff(dim=1) >= 0).all())  # the closest first
    best = plain(made, sampler=Beam(width=6), candidates=6).sample(mixture, seeds)
    torch.testing.assert_close(best, beams[:, :2])
    likeliest = plain(made, sampler=Beam(width=6), candidates=1).sample(mixture, seeds[:, :1])
    apart = (beams - likeliest).abs().flatten(2).amax(-1)
    assert float(apart.amin(1).max()) < 1e-5  # they are of the beam
    assert bool((residual(mixture, likeliest) > error[:, :1]).any())  # and need not be the closest
    greedy = plain(made, sampler=Greedy()).sample(mixture, seeds)
    torch.testing.assert_close(greedy[:, 0], greedy[:, 1])
    with pytest.raises(UsageError, match=r"(?=.*\b1\b)(?=.*\b2\b)"):
        plain(made, sampler=Beam(width=1)).sample(mixture, seeds)


def test_evaluations_count_tokens_of_hypotheses(made: LassEngine) -> None:
    assert change(made, candidates=5).evaluations == 4 * 5
    assert change(made, sampler=Ancestral(2), candidates=1).evaluations == 4
    assert change(made, sampler=Beam(7)).evaluations == 4 * 7
    assert change(made, sampler=Greedy()).evaluations == 4


def test_the_prior_ranks_sources(made: LassEngine) -> None:
    x = truth(5)
    found = made.log_prior(x)
    tokens = made.codec.encode(x.flatten(0, 1)).view(5, 2, 4)
    by_steps = torch.zeros(5)
    state, given = made.prior.start(5), None
    for t in range(4):
        log_prob, state = made.prior.step(state, given)
        given = tokens[..., t]
        by_steps += log_prob.gather(-1, given[..., None]).sum((1, 2))
    torch.testing.assert_close(found, by_steps, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(change(made, rows=4).log_prior(x), found)


def test_progress_ends_at_the_end(made: LassEngine) -> None:
    steps: list[tuple[int, int]] = []
    change(made, rows=4).sample(truth(3).sum(1), torch.arange(3)[:, None], lambda d, n: steps.append((d, n)))
    shares = [done for done, _ in steps]
    assert shares == sorted(shares)
    (total,) = {total for _, total in steps}
    assert 0.99 * total <= shares[-1] <= total  # rounded down


def test_the_nearest_exact_images() -> None:
    x, wild = truth(200), 3 * truth(200, seed=1) - 1
    total = x.sum(1)
    found = exact_sum(wild, total)
    torch.testing.assert_close(found.sum(1), total)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert bool(((found - x).square().sum(1) <= (wild - x).square().sum(1) + 1e-6).all())  # as any projection
    torch.testing.assert_close(exact_sum(found, total), found)
    dense = torch.linspace(0, 1, 1001)[:, None]
    pixel, goal = torch.tensor([0.9, 0.7]), 1.3
    on = torch.cat([dense, goal - dense], dim=1)
    on = on[(on >= 0).all(1) & (on <= 1).all(1)]
    best = on[(on - pixel).square().sum(1).argmin()]
    made = exact_sum(pixel.view(1, 2, 1, 1, 1), torch.full((1, 1, 1, 1), goal))
    torch.testing.assert_close(made.flatten(), best, atol=1e-3, rtol=0)


def test_seeds_of_candidates_differ_and_repeat() -> None:
    seeds = torch.tensor([[3, -1], [3, 4]])
    found = candidate_seeds(seeds, 50)
    assert found.shape == (2, 100)
    assert torch.equal(found[0, :50], found[1, :50])
    assert len(found[0].unique()) == 100
    assert torch.equal(candidate_seeds(seeds, 1), seeds)


def test_what_cannot_be_separated(made: LassEngine) -> None:
    with pytest.raises(InputError, match=r"\b12\b.*\b8\b"):
        made.sample(torch.zeros(1, 1, 12, 8), torch.zeros(1, 1, dtype=torch.int64))
    for weights in ((1.0, 0.5), (1.0, 1.0, 1.0), (-1.0, -1.0)):
        with pytest.raises(UsageError, match=re.escape(str(weights))):
            replace(made, weights=weights)
    with pytest.raises(UsageError, match="candidates"):
        change(made, candidates=0)
    for noise in (-0.1, float("nan")):
        with pytest.raises(UsageError, match="noise"):
            change(made, noise=noise)
