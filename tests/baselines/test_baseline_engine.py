"""Baselines as engines."""

from __future__ import annotations

import pytest
import torch
from toy_drums_bass import RATE, hits, tone

from sepcli.baselines import BASELINES, SAMPLE_RATE
from sepcli.baselines.engine import BaselineEngine
from sepcli.cli.resolve import Method
from sepcli.errors import UsageError

BATCH = torch.stack([tone(1.0) + hits([0.2, 0.6], 1.0), tone(1.0, 180.0), torch.zeros(1, RATE)])


def test_the_contract() -> None:
    steps: list[tuple[int, int]] = []
    separator = BaselineEngine("hpss", sample_rate=RATE)
    sources = separator.sample(BATCH, torch.zeros(3, 2, dtype=torch.int64), lambda *step: steps.append(step))
    assert sources.shape == (3, 2, 2, 1, RATE)
    assert steps == [(1, 3), (2, 3), (3, 3)]
    torch.testing.assert_close(0.5 * sources.sum(dim=2)[:, 0], BATCH, atol=1e-6, rtol=0)
    assert torch.equal(sources[:, 0], sources[:, 1])
    assert (BaselineEngine("hpss").names, BaselineEngine("hpss").sample_rate) == (
        ("drums", "bass"),
        SAMPLE_RATE,
    )


@pytest.mark.parametrize("method", sorted(BASELINES))
def test_items_do_not_depend_on_their_batch(method: str) -> None:
    separator, seeds = BaselineEngine(method, sample_rate=RATE), torch.arange(3)[:, None]
    assert torch.equal(separator.sample(BATCH, seeds)[1:2], separator.sample(BATCH[1:2], seeds[1:2]))


def test_names_and_weights_as_the_prior_has_them() -> None:
    seeds = torch.zeros(3, 1, dtype=torch.int64)
    usual = BaselineEngine("hpss", sample_rate=RATE).sample(BATCH, seeds)
    turned = BaselineEngine("hpss", ("bass", "drums"), (1.0, 0.25), RATE).sample(BATCH, seeds)
    torch.testing.assert_close(turned[:, :, 0], 0.5 * usual[:, :, 1])
    torch.testing.assert_close(turned[:, :, 1], 2 * usual[:, :, 0])


def test_what_it_cannot_do() -> None:
    with pytest.raises(UsageError, match="magic"):
        BaselineEngine("magic")
    with pytest.raises(UsageError, match="piano"):
        BaselineEngine("hpss", ("piano", "bass"))


def test_every_method_is_on_the_command_line() -> None:
    assert {method.value for method in Method if method.is_baseline} == set(BASELINES)
