"""A card of colour pictures → what colours grey ones."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from exact_priors import GaussianFields

from sepcli.catalog import card as cards
from sepcli.catalog.colours import TABLE, load_colours
from sepcli.catalog.score import load_pictures
from sepcli.colouring import GREYS, grey_of
from sepcli.errors import PriorError, UsageError
from sepcli.mixing import WeightedSum
from sepcli.posterior import DiracPosterior
from sepcli.priors.ncsn import NcsnConfig, NcsnPrior
from sepcli.training.loop import write_weights

FEW = {"steps": "4"}
SEEDS = torch.tensor([[1, 2], [3, 4]])


def greys() -> torch.Tensor:
    return torch.rand(2, 1, 8, 10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sampler", [None, "projected", "halving", "multi-source"])
@pytest.mark.parametrize("grey", ["mean", "luma"])
def test_draws_have_the_grey(tiny_colours: Path, sampler: str | None, grey: str) -> None:
    weights = GREYS[grey]
    separator = load_colours(str(tiny_colours), weights, sampler=sampler, settings=FEW).separator()
    drawn = separator(greys(), SEEDS)
    assert drawn.shape == (2, 2, 3, 1, 8, 10)
    assert torch.allclose(grey_of(drawn[:, :, :, 0], weights), greys().expand(2, 2, 8, 10), atol=1e-5)
    assert not torch.equal(drawn[:, 0], drawn[:, 1])
    assert torch.allclose(separator(greys()[1:], SEEDS[1:, 1:])[0, 0], drawn[1, 1], atol=1e-4)
    assert separator.names == ("red", "green", "blue")


def test_levels_are_wide_but_langevin_s_are_the_paper_s(tiny_colours: Path) -> None:
    def ladder(**more: object) -> tuple[float, float]:
        made = load_colours(str(tiny_colours), GREYS["mean"], **more).separator().sampler  # type: ignore[arg-type]
        levels = made.ladder()  # type: ignore[attr-defined]
        return float(levels[0]), float(levels[-1])

    assert ladder() == ladder(sampler="multi-source") == pytest.approx((20.0, 0.01))
    assert ladder(sampler="halving") == pytest.approx((20.0, 0.02))
    assert ladder(sampler="langevin") == pytest.approx((1.0, 0.01))
    assert ladder(settings={"sigma_max": "3"})[0] == pytest.approx(3)


def test_tints_are_drawn_as_uncertain_as_they_are(tiny_colours: Path) -> None:
    """Channels of a shared tint: mean and spread of the whole picture's colour are those of the posterior."""
    pixels, draws, middle = 16, 400, torch.tensor([0.7, 0.5, 0.3], dtype=torch.float64)
    shared = 0.05 * torch.ones(pixels, pixels, dtype=torch.float64) + 0.01 * torch.eye(pixels).double()
    prior = GaussianFields(middle[:, None].expand(3, pixels), shared.expand(3, pixels, pixels))
    sampler = load_colours(str(tiny_colours), GREYS["mean"]).separator().sampler
    grey = torch.full((draws, 1, pixels), 0.6, dtype=torch.float64)
    posterior = DiracPosterior(prior, WeightedSum(GREYS["mean"]), grey)
    tint = posterior.sources(sampler(posterior, torch.arange(draws))).mean((2, 3))
    spread = (2 / 3 * (0.05 + 0.01 / pixels)) ** 0.5
    assert torch.allclose(tint.std(0), torch.full((3,), spread).double(), rtol=0.1)
    assert torch.allclose(tint.mean(0), middle + 0.1, atol=0.25 * spread)


def test_langevin_dynamics_colour(tiny_colours: Path) -> None:
    few = {"steps": "2", "levels": "3", "preset": "released-colour"}
    colourist = load_colours(str(tiny_colours), GREYS["mean"], sampler="langevin", settings=few)
    assert colourist.separator().evaluations == 6
    assert colourist.separator()(greys(), SEEDS).shape == (2, 2, 3, 1, 8, 10)


def test_a_card_has_a_table_for_colouring_beside_that_for_separation(
    tiny_colours: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_colours, tmp_path / "other")
    table = {"sampler": "multi-source", "steps": 7, "repeats": 1, "hint_sigma": 0.2}
    cards.write(replace(cards.read(folder), settings={"steps": 5, TABLE: table}), folder)
    colourist = load_colours(str(folder), GREYS["luma"], settings={"repeats": "3"})
    assert (colourist.sampler, colourist.hint_sigma) == ("multi-source", 0.2)
    assert colourist.separator().evaluations == 21
    assert load_colours(str(folder), GREYS["luma"], sampler="projected").separator().evaluations == 50
    assert load_pictures([str(folder)], (1.0, 1.0)).evaluations == 5


@pytest.mark.parametrize("sampler", ["projected", "langevin"])
def test_draws_keep_to_hints(tiny_colours: Path, sampler: str) -> None:
    settings = {"hint_sigma": "0.001", "steps": "20"}
    colourist = load_colours(str(tiny_colours), GREYS["mean"], sampler=sampler, settings=settings)
    target = torch.tensor([0.9, 0.3, 0.3]).view(3, 1, 1).expand(3, 4, 4)
    weight = torch.zeros(4, 4)
    weight[1, 2] = 1.0
    drawn = colourist.separator((target, weight))(torch.full((1, 1, 4, 4), 0.5), SEEDS[:1])[0, :, :, 0]
    near = (drawn - target).abs().amax(1)
    assert near[:, 1, 2].max() < 0.05
    assert near.amax((1, 2)).min() > 0.1


def test_a_ladder_of_its_own_bounds_the_levels(tiny_colours: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_colours, tmp_path / "ncsn")
    shutil.rmtree(folder / "denoiser")
    (folder / "ncsn").mkdir()
    config = NcsnConfig(channels=3, size=(8, 8), width=8, levels=3, sigma_max=5.0)
    write_weights(NcsnPrior(config), folder / "ncsn" / "model.safetensors")
    (folder / "ncsn" / "config.json").write_text(json.dumps(asdict(config)))
    cards.write(cards.with_files(cards.read(folder), folder), folder)
    colourist = load_colours(str(folder), GREYS["mean"], settings=FEW)
    assert colourist.settings["sigma_max"] == 5.0
    hint = (torch.rand(3, 8, 10), torch.ones(8, 10))
    assert colourist.separator(hint)(greys(), SEEDS).isfinite().all()


def test_what_cannot_be_done_is_refused(tiny_colours: Path, tiny_pictures: Path, tiny_prior: Path) -> None:
    for name, match in ((tiny_pictures, "pictures"), (tiny_prior, "tiny")):
        with pytest.raises(PriorError, match=match):
            load_colours(str(name), GREYS["mean"])
    for settings, match in (({"lam": "2"}, "lam"), ({"hint_sigma": "0"}, "hint_sigma")):
        with pytest.raises(UsageError, match=match):
            load_colours(str(tiny_colours), GREYS["mean"], settings=settings).separator()
    with pytest.raises(UsageError, match="beam"):
        load_colours(str(tiny_colours), GREYS["mean"], sampler="beam").separator()
