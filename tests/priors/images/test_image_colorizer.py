"""A card of color images → what colors gray ones."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from exact_priors import GaussianFields
from loading import colorizer_of, engine_of
from msgspec import structs

from sepcli.catalog import card as cards
from sepcli.errors import PriorError, UsageError
from sepcli.posterior.dirac import DiracPosterior
from sepcli.priors.images.ncsn import NcsnConfig, NcsnPrior
from sepcli.signal.chroma import GRAYS, gray_of
from sepcli.signal.mixing import WeightedSum
from sepcli.training.loop import write_weights

FEW = {"steps": "4"}
SEEDS = torch.tensor([[1, 2], [3, 4]])


def grays() -> torch.Tensor:
    return torch.rand(2, 1, 8, 10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sampler", [None, "projected", "halving", "multi-source"])
@pytest.mark.parametrize("gray", ["mean", "luma"])
def test_draws_have_the_gray(tiny_colors: Path, sampler: str | None, gray: str) -> None:
    weights = GRAYS[gray]
    separator = colorizer_of(str(tiny_colors), weights, sampler=sampler, settings=FEW).engine
    drawn = separator.sample(grays(), SEEDS)
    assert drawn.shape == (2, 2, 3, 1, 8, 10)
    assert torch.allclose(gray_of(drawn[:, :, :, 0], weights), grays().expand(2, 2, 8, 10), atol=1e-5)
    assert not torch.equal(drawn[:, 0], drawn[:, 1])
    assert torch.allclose(separator.sample(grays()[1:], SEEDS[1:, 1:])[0, 0], drawn[1, 1], atol=1e-4)
    assert separator.names == ("red", "green", "blue")


def test_levels_are_wide_but_langevin_s_are_the_paper_s(tiny_colors: Path) -> None:
    def ladder(**more: object) -> tuple[float, float]:
        made = colorizer_of(str(tiny_colors), GRAYS["mean"], **more).engine.sampler  # type: ignore[arg-type]
        levels = made.sigmas()  # type: ignore[attr-defined]
        return float(levels[0]), float(levels[-1])

    assert ladder() == ladder(sampler="multi-source") == pytest.approx((20.0, 0.01))
    assert ladder(sampler="halving") == pytest.approx((20.0, 0.02))
    assert ladder(sampler="langevin") == pytest.approx((1.0, 0.01))
    assert ladder(settings={"sigma_max": "3"})[0] == pytest.approx(3)


def test_tints_are_drawn_as_uncertain_as_they_are(tiny_colors: Path) -> None:
    """Channels of a shared tint: mean and spread of the whole image's color are those of the posterior."""
    pixels, draws, middle = 16, 400, torch.tensor([0.7, 0.5, 0.3], dtype=torch.float64)
    shared = 0.05 * torch.ones(pixels, pixels, dtype=torch.float64) + 0.01 * torch.eye(pixels).double()
    prior = GaussianFields(middle[:, None].expand(3, pixels), shared.expand(3, pixels, pixels))
    sampler = colorizer_of(str(tiny_colors), GRAYS["mean"]).engine.sampler
    gray = torch.full((draws, 1, pixels), 0.6, dtype=torch.float64)
    posterior = DiracPosterior(prior, WeightedSum(GRAYS["mean"]), gray)
    tint = posterior.sources(sampler(posterior, torch.arange(draws))).mean((2, 3))
    spread = (2 / 3 * (0.05 + 0.01 / pixels)) ** 0.5
    assert torch.allclose(tint.std(0), torch.full((3,), spread).double(), rtol=0.1)
    assert torch.allclose(tint.mean(0), middle + 0.1, atol=0.25 * spread)


def test_langevin_dynamics_color(tiny_colors: Path) -> None:
    few = {"steps": "2", "levels": "3", "preset": "released-color"}
    colorizer = colorizer_of(str(tiny_colors), GRAYS["mean"], sampler="langevin", settings=few)
    assert colorizer.engine.evaluations == 6
    assert colorizer.engine.sample(grays(), SEEDS).shape == (2, 2, 3, 1, 8, 10)


def test_a_card_has_a_table_for_colorization_beside_that_for_separation(
    tiny_colors: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_colors, tmp_path / "other")
    table = {"sampler": "multi-source", "steps": 7, "repeats": 1, "hint_sigma": 0.2}
    cards.write(
        structs.replace(cards.read(folder), settings={"score": {"steps": 5}, "colorize": table}), folder
    )
    colorizer = colorizer_of(str(folder), GRAYS["luma"], settings={"repeats": "3"})
    assert (colorizer.describe()["sampler"], colorizer.describe()["settings"]["hint_sigma"]) == (
        "multi-source",
        0.2,
    )
    assert colorizer.engine.evaluations == 21
    assert colorizer_of(str(folder), GRAYS["luma"], sampler="projected").engine.evaluations == 50
    assert engine_of([str(folder)], (1.0, 1.0)).evaluations == 5


@pytest.mark.parametrize("sampler", ["projected", "langevin"])
def test_draws_keep_to_hints(tiny_colors: Path, sampler: str) -> None:
    settings = {"hint_sigma": "0.001", "steps": "20"}
    colorizer = colorizer_of(str(tiny_colors), GRAYS["mean"], sampler=sampler, settings=settings)
    target = torch.tensor([0.9, 0.3, 0.3]).view(3, 1, 1).expand(3, 4, 4)
    weight = torch.zeros(4, 4)
    weight[1, 2] = 1.0
    drawn = colorizer.colorizer.engine(GRAYS["mean"], (target, weight)).sample(
        torch.full((1, 1, 4, 4), 0.5), SEEDS[:1]
    )[0, :, :, 0]
    near = (drawn - target).abs().amax(1)
    assert near[:, 1, 2].max() < 0.05
    assert near.amax((1, 2)).min() > 0.1


def test_a_ladder_of_its_own_bounds_the_levels(tiny_colors: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_colors, tmp_path / "ncsn")
    shutil.rmtree(folder / "denoiser")
    (folder / "ncsn").mkdir()
    config = NcsnConfig(channels=3, size=(8, 8), width=8, levels=3, sigma_max=5.0)
    write_weights(NcsnPrior(config), folder / "ncsn" / "model.safetensors")
    (folder / "ncsn" / "config.json").write_text(json.dumps(asdict(config)))
    cards.write(cards.with_files(cards.read(folder), folder), folder)
    colorizer = colorizer_of(str(folder), GRAYS["mean"], settings=FEW)
    assert colorizer.describe()["settings"]["sigma_max"] == 5.0
    hint = (torch.rand(3, 8, 10), torch.ones(8, 10))
    assert colorizer.colorizer.engine(GRAYS["mean"], hint).sample(grays(), SEEDS).isfinite().all()


def test_what_cannot_be_done_is_refused(tiny_colors: Path, tiny_images: Path, tiny_prior: Path) -> None:
    for name, match in ((tiny_images, "images"), (tiny_prior, "tiny")):
        with pytest.raises(PriorError, match=match):
            colorizer_of(str(name), GRAYS["mean"])
    for settings, match in (({"lam": "2"}, "lam"), ({"hint_sigma": "0"}, "hint_sigma")):
        with pytest.raises(UsageError, match=match):
            colorizer_of(str(tiny_colors), GRAYS["mean"], settings=settings)
    with pytest.raises(UsageError, match="beam"):
        colorizer_of(str(tiny_colors), GRAYS["mean"], sampler="beam")
