"""The likeliest of several draws, and how likely separations and true sources are."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from loading import engine_of

from sepcli.evaluation.images import likeliest, typicality
from sepcli.priors.images.glow import GlowConfig, glow_prior
from sepcli.priors.images.independent import ClassPrior
from sepcli.separation.engines import ScoreEngine
from sepcli.separation.independent import IndependentDensities


def white(prior: Path, sigma: float = 0.5, noisy: bool = False) -> ScoreEngine:
    """A separator whose sources are N(1/2, I): a flow as it begins."""
    made = engine_of([str(prior)], (1.0, 1.0))
    flow = glow_prior(GlowConfig(scales=1, steps=1, width=4, embedding=4)).requires_grad_(False)
    return replace(made, density=IndependentDensities((ClassPrior(flow), ClassPrior(flow)), sigma, noisy))


def test_the_likeliest_draw_of_each_item_is_chosen(tiny_flow: Path) -> None:
    draws = torch.full((2, 3, 2, 1, 8, 8), 0.9)
    draws[0, 1], draws[1, 2] = 0.4, 0.55
    draws[1, 0] = 7.0  # clamped to 1
    chosen = likeliest(white(tiny_flow), draws)
    assert torch.equal(chosen, torch.stack([draws[0, 1], draws[1, 2]]))


def test_a_prior_without_density_ranks_by_its_bound(tiny_images: Path) -> None:
    separator = engine_of([str(tiny_images)], (1.0, 1.0))
    draws = torch.rand(2, 3, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    known = separator.log_prior(draws.flatten(0, 1))
    assert known is not None
    best = known.view(2, 3).argmax(1)
    assert torch.equal(likeliest(separator, draws), draws[torch.arange(2), best])
    assert typicality(separator, draws[0, 0], draws[0, 1], np.random.default_rng(0)) == {}


@pytest.mark.parametrize(
    ("sampler", "settings", "noisy"),
    [("langevin", {}, True), ("langevin", {"polish": 2}, False), ("langevin", {"noise": 0}, False)],
)
def test_draws_have_noise_whoever_adds_it(
    tiny_flow: Path, sampler: str, settings: dict[str, object], noisy: bool
) -> None:
    made = engine_of([str(tiny_flow)], (1.0, 1.0), sampler=sampler, settings=settings)
    assert made.density is not None
    separator = white(tiny_flow, noisy=made.density.noisy)  # type: ignore[attr-defined]
    same = torch.full((2, 1, 64, 64), 0.5)
    found = typicality(separator, same, same, np.random.default_rng(0))
    assert (found["sepcli"] < found["truth"] - 0.1) == noisy  # of what has noise already, none is added


def test_bits_are_those_of_the_density_and_both_have_noise(tiny_flow: Path) -> None:
    drawn = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    truth = torch.full((2, 1, 64, 64), 0.5)
    found = typicality(white(tiny_flow), drawn, truth, np.random.default_rng(0))

    def bits(energy: float) -> float:
        return (0.5 * energy + 0.5 * math.log(2 * math.pi)) / math.log(2) + math.log2(255)

    assert found["sepcli"] == pytest.approx(bits(float((drawn - 0.5).square().mean()) + 0.5**2), abs=0.02)
    assert found["truth"] == pytest.approx(bits(0.5**2), abs=0.01)
    again = typicality(white(tiny_flow), drawn, truth, np.random.default_rng(0))
    assert again == pytest.approx(found, rel=1e-6)  # sums may round by where they lie in memory
    assert typicality(white(tiny_flow), drawn, truth, np.random.default_rng(1))["truth"] != pytest.approx(
        found["truth"], rel=1e-6
    )
