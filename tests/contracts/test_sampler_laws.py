"""Laws of every sampler of signals: seeds, batches, progress, the constraint."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from exact_priors import GaussianPixels

from sepcli.posterior.dirac import DiracPosterior
from sepcli.posterior.gaussian import GaussianPosterior
from sepcli.samplers import SAMPLERS, names
from sepcli.signal.mixing import WeightedSum

WEIGHTS = (0.7, 0.4)
PRIOR = GaussianPixels((0.2, 0.8), (0.04, 0.09))
SMALL: dict[str, dict[str, Any]] = {
    "langevin": {"levels": 4, "steps": 5},
    "halving": {"steps": 8, "candidates": 4},
}
NOISY = {"particles": 0.02}
"""Samplers of mixtures with noise."""
BATCH = torch.rand(3, 1, 5, 6, generator=torch.Generator().manual_seed(0))


def posterior(name: str, mixture: torch.Tensor) -> Any:
    if SAMPLERS[name].posterior == "gaussian":
        return GaussianPosterior(PRIOR, WeightedSum(WEIGHTS), mixture, 2)
    return DiracPosterior(PRIOR, WeightedSum(WEIGHTS), mixture, sigma_y=NOISY.get(name, 0.0))


def sampler(name: str) -> Any:
    return SAMPLERS[name].load()(**SMALL.get(name, {"steps": 6}))


def draw(name: str, mixture: torch.Tensor, seeds: list[int], on_progress: Any = None) -> torch.Tensor:
    target = posterior(name, mixture)
    state = sampler(name)(target, torch.tensor(seeds), on_progress)
    assert state.shape == target.like.shape
    sources: torch.Tensor = target.sources(state)
    return sources


@pytest.mark.parametrize("name", names("signal"))
def test_an_item_depends_on_its_own_seed_only(name: str) -> None:
    together = draw(name, BATCH, [3, 4, 5])
    assert torch.equal(together, draw(name, BATCH, [3, 4, 5]))
    torch.testing.assert_close(together[1:2], draw(name, BATCH[1:2], [4]))
    assert not torch.allclose(together[:1], draw(name, BATCH[:1], [9]))


@pytest.mark.parametrize("name", names("signal"))
def test_progress_ends_with_all_evaluations(name: str) -> None:
    steps: list[tuple[int, int]] = []
    draw(name, BATCH, [1, 2, 3], lambda done, total: steps.append((done, total)))
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
    assert sampler(name).evaluations >= 1


@pytest.mark.parametrize("name", [n for n in names("signal") if SAMPLERS[n].posterior == "dirac"])
def test_the_mixture_is_met(name: str) -> None:
    sources = draw(name, BATCH, [1, 2, 3])
    atol = 5 * NOISY[name] if name in NOISY else 1e-5
    torch.testing.assert_close(WeightedSum(WEIGHTS)(sources), BATCH, atol=atol, rtol=0)
