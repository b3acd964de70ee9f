"""The joint step of several codebooks against enumeration of all codes."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from sepcli.priors.lass.residual import Decisions, pair_moves
from sepcli.samplers.ancestral import choose

CODES, DIM = 4, 3


def decisions(sources: int, rows: int = 1, levels: int = 1) -> Decisions:
    """Decisions of noise, the same in every row."""
    rng = torch.Generator().manual_seed(7)
    weights = torch.tensor([1.0, 0.7, 0.4][:sources])
    rest = torch.randn(1, levels, DIM, generator=rng)
    log_prior = (2 * torch.randn(1, levels, sources, CODES, generator=rng)).log_softmax(-1)
    codes = torch.randn(levels, CODES, DIM, generator=rng)
    precision = torch.rand(1, levels, generator=rng) + 0.5
    return Decisions(
        rest.expand(rows, -1, -1),
        log_prior.expand(rows, -1, -1, -1),
        codes,
        weights,
        precision.expand(rows, -1),
    )


def enumerated(given: Decisions, level: int = 0) -> Tensor:
    """p of all joint codes of a level of the first row (V, …, V), by the formula."""
    sources = len(given.weights)
    values = torch.zeros((CODES,) * sources, dtype=torch.float64)
    for joint in itertools.product(range(CODES), repeat=sources):
        made = sum(given.weights[k] * given.codes[level, code] for k, code in enumerate(joint))
        error = float((given.rest[0, level] - made).square().sum())
        log_prior = sum(float(given.log_prior[0, level, k, code]) for k, code in enumerate(joint))
        values[joint] = log_prior - 0.5 * float(given.precision[0, level]) * error
    return values.flatten().softmax(0).view_as(values)


def test_pairs_have_their_exact_probabilities() -> None:
    given = decisions(2, levels=2)
    seen: list[Tensor] = []

    def likeliest(log_prob: Tensor, move: int) -> Tensor:
        seen.append(log_prob)
        return log_prob.argmax(-1)

    chosen, left = given.decide(CODES, 4, likeliest)
    order = given.log_prior.argsort(dim=-1, descending=True)
    assert len(seen) == 1
    for level in range(2):
        expected = enumerated(given, level)
        assert tuple(chosen[0, level].tolist()) == divmod(int(expected.argmax()), CODES)
        first, second = order[0, level]
        listed = expected[first][:, second]
        torch.testing.assert_close(
            seen[0][0, level].softmax(-1).double(), listed.flatten(), atol=1e-6, rtol=1e-4
        )
        made = sum(given.weights[k] * given.codes[level, chosen[0, level, k]] for k in range(2))
        torch.testing.assert_close(left[0, level], given.rest[0, level] - made)


@pytest.mark.parametrize("sources", [2, 3])
def test_samples_are_of_the_joint_distribution(sources: int) -> None:
    rows, sweeps = 20_000, 6
    given = decisions(sources, rows)
    moves = len(pair_moves(sources, sweeps))
    uniform = torch.rand(rows, 1, moves, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    chosen, _ = given.decide(CODES, sweeps, lambda p, move: choose(p, uniform[..., move])[..., 0])
    radix = torch.tensor([CODES ** (sources - 1 - k) for k in range(sources)])
    counts = torch.bincount((chosen[:, 0] * radix).sum(-1), minlength=CODES**sources)
    expected = enumerated(given).flatten()
    error = (counts / rows - expected).abs()
    assert bool((error < 4.5 * (expected / rows).sqrt() + 1e-4).all())
    assert float(expected.max()) < 0.9


def test_a_shortlist_keeps_the_likeliest_codes() -> None:
    given = decisions(3, levels=2)
    chosen, _ = given.decide(2, 1, lambda p, move: p.argmin(-1))
    best = given.log_prior.topk(2, dim=-1).indices
    assert bool((chosen[..., None] == best).any(-1).all())
    assert pair_moves(3, 2) == [(0, 1), (0, 2), (1, 2)] * 2
