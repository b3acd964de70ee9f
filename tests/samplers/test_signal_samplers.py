"""Laws that every sampler of signals obeys."""

from __future__ import annotations

import pytest
import torch
from exact_priors import MixturePixels
from torch import Tensor

from sepcli.posterior.dirac import DiracPosterior
from sepcli.posterior.gaussian import GaussianPosterior
from sepcli.protocols import Posterior, Sampler
from sepcli.samplers.langevin import Langevin
from sepcli.samplers.msdm import MultiSource
from sepcli.samplers.projected import Projected
from sepcli.samplers.successive_halving import Halving
from sepcli.signal.mixing import WeightedSum

SAMPLERS = [Langevin(levels=3, steps=4), Projected(steps=8), MultiSource(steps=4), Halving(steps=8)]
PRIOR = MixturePixels(
    torch.full((3, 2), 0.5), torch.tensor([[0.0, 1.0]] * 3), torch.tensor([[0.1], [0.2], [0.3]]).expand(3, 2)
)
WEIGHTS = (0.5, 1.0, 0.7)
SEEDS = torch.tensor([3, -1, 2**40])


def posterior(kind: str, mixture: Tensor) -> Posterior:
    if kind == "gaussian":
        return GaussianPosterior(PRIOR, WeightedSum(WEIGHTS), mixture, 3)
    return DiracPosterior(PRIOR, WeightedSum(WEIGHTS), mixture, moments=PRIOR.moments)


def mixtures() -> Tensor:
    return torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("kind", ["gaussian", "dirac"])
def test_an_item_depends_on_its_own_seed_and_mixture_only(sampler: Sampler, kind: str) -> None:
    m = mixtures()
    together = sampler(posterior(kind, m), SEEDS)
    again = sampler(posterior(kind, m), SEEDS)
    alone = sampler(posterior(kind, m[1:2]), SEEDS[1:2])
    assert torch.equal(together, again)
    assert torch.equal(together[1:2], alone)
    other = sampler(posterior(kind, m), SEEDS + 1)
    assert (other != together).flatten(1).any(1).all()


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
def test_progress_counts_evaluations(sampler: Sampler) -> None:
    seen: list[tuple[int, int]] = []
    state = sampler(posterior("dirac", mixtures()), SEEDS, lambda *step: seen.append(step))
    assert seen == [(n + 1, sampler.evaluations) for n in range(sampler.evaluations)]
    assert state.shape == (3, 2, 1, 4, 4)
    assert not state.requires_grad


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
def test_types_are_kept(sampler: Sampler) -> None:
    for dtype in (torch.float32, torch.float64):
        assert sampler(posterior("gaussian", mixtures().to(dtype)), SEEDS).dtype == dtype
