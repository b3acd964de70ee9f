"""What every engine obeys; a new engine is a new row of ``ENGINES``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from loading import engine_of
from tiny_tokens import make_tokens
from torch import Tensor


class Case(NamedTuple):
    """An engine, how to make it from a sampler and settings, and three mixtures."""

    make: Callable[..., Any]
    mixture: Tensor
    sampler: str


def _noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def _audio(prior: Path, sampler: str) -> Case:
    return Case(lambda **options: engine_of(str(prior), **options), 0.2 * _noise(3, 1, 500) - 0.1, sampler)


def _images(folder: Path, sampler: str) -> Case:
    prior = make_tokens(folder / "tokens")
    return Case(lambda **options: engine_of(str(prior), **options), _noise(3, 1, 8, 8), sampler)


ENGINES: dict[str, Callable[[Path, Path], Case]] = {
    **{
        f"lass, audio, {sampler}": lambda prior, _, sampler=sampler: _audio(prior, sampler)  # type: ignore[misc]
        for sampler in ("greedy", "ancestral", "top-k", "beam")
    },
    **{
        f"lass, images, {sampler}": lambda _, folder, sampler=sampler: _images(folder, sampler)  # type: ignore[misc]
        for sampler in ("greedy", "ancestral", "top-k", "beam")
    },
}
"""Name → (prior of audio, an empty folder) → a case."""
RANDOM = ("ancestral", "top-k")


@pytest.fixture(params=ENGINES.values(), ids=ENGINES.keys())
def case(request: pytest.FixtureRequest, tiny_prior: Path, tmp_path: Path) -> Case:
    found: Case = request.param(tiny_prior, tmp_path)
    return found


def test_samples_are_sources_on_the_cpu(case: Case) -> None:
    engine, x = case.make(sampler=case.sampler), case.mixture
    before = x.clone()
    drawn = engine.sample(x, torch.arange(6).view(3, 2))
    assert len(engine.names) == len(engine.weights) == 2
    assert drawn.shape == (3, 2, 2, *x.shape[1:])
    assert (drawn.dtype, drawn.device.type) == (torch.float32, "cpu")
    assert bool(drawn.isfinite().all())
    assert torch.equal(x, before)
    assert engine.channels in (None, x.shape[1])
    assert (engine.sample_rate == 0) == (x.dim() == 4)
    assert engine.evaluations >= 1


def test_a_sample_depends_on_its_own_mixture_and_seed(case: Case) -> None:
    engine, x, seeds = case.make(sampler=case.sampler), case.mixture, torch.arange(6).view(3, 2)
    together = engine.sample(x, seeds)
    assert torch.equal(together, engine.sample(x, seeds))
    for item in range(3):
        alone = engine.sample(x[item : item + 1], seeds[item : item + 1])
        torch.testing.assert_close(alone, together[item : item + 1], atol=1e-5, rtol=0)
    if case.sampler in RANDOM:
        swapped = engine.sample(x, seeds.flip(1)).flip(1)
        torch.testing.assert_close(swapped, together, atol=1e-5, rtol=0)
        assert not torch.equal(together, engine.sample(x, seeds + 100))
        assert not torch.equal(together[:, 0], together[:, 1])


def test_log_priors_are_per_item(case: Case) -> None:
    engine = case.make(sampler=case.sampler)
    sources = engine.sample(case.mixture, torch.arange(3)[:, None])[:, 0]
    values = engine.log_prior(sources)
    assert values.shape == (3,)
    torch.testing.assert_close(engine.log_prior(sources[1:2]), values[1:2], atol=1e-3, rtol=1e-4)


def test_progress_rises_to_the_end(case: Case) -> None:
    steps: list[tuple[int, int]] = []
    case.make(sampler=case.sampler).sample(
        case.mixture, torch.arange(3)[:, None], lambda done, total: steps.append((done, total))
    )
    assert steps == sorted(steps)
    assert len({total for _, total in steps}) == 1
    assert steps[-1][0] >= 0.99 * steps[-1][1]


def test_what_is_described_is_what_runs(case: Case) -> None:
    engine = case.make(sampler=case.sampler, settings={"temperature": "0.5"})
    record = json.loads(json.dumps(engine.describe()))
    assert (record["engine"], record["sampler"], record["device"]) == ("lass", case.sampler, "cpu")
    assert record["settings"]["temperature"] == 0.5
    again = case.make(sampler=record["sampler"], settings=record["settings"])
    seeds = torch.arange(6).view(3, 2)
    assert torch.equal(engine.sample(case.mixture, seeds), again.sample(case.mixture, seeds))
    assert again.describe() == engine.describe()
