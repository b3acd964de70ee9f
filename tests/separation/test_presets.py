"""Presets by name: what they set, where they apply, and that an estimate keeps today's defaults."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from msgspec import structs
from tiny_priors import write_image_prior
from tiny_sound import make_sound

import sepcli
from sepcli.catalog import card as cards
from sepcli.catalog.measured import Draws
from sepcli.errors import UsageError
from sepcli.priors.images.denoiser import DenoiserConfig
from sepcli.priors.select import choose
from sepcli.samplers import Projected
from sepcli.separation.presets import DRAWS, ESTIMATE, PRESETS, preset_of

USED = {"eta": "ancestral", "order": 2, "moments": "jacobian", "products": 2, "steps": 64}


def test_an_estimate_is_the_default() -> None:
    assert preset_of(None, None).name == ESTIMATE
    assert preset_of(None, "halving").name == ESTIMATE
    assert preset_of("estimate", "halving").name == ESTIMATE
    assert preset_of("draws", None).name == DRAWS


@pytest.mark.parametrize(("name", "sampler"), [("sharp", None), ("draws", "halving")])
def test_presets_that_do_not_fit_are_refused(name: str, sampler: str | None) -> None:
    with pytest.raises(UsageError) as error:
        preset_of(name, sampler)
    assert error.value.argument == "preset"


def test_a_prior_of_images_draws_within_the_noise_of_its_training(tiny_images: Path) -> None:
    draws = sepcli.load(tiny_images, preset="draws").describe()
    assert draws["sampler"] == "projected"
    assert {key: draws["settings"][key] for key in PRESETS[DRAWS].networks} == PRESETS[DRAWS].networks
    config = DenoiserConfig()
    sigma_min = torch.tensor(config.p_mean - 2 * config.p_std).exp()
    assert draws["settings"]["sigma_min"] == pytest.approx(float(sigma_min), abs=1e-3)
    assert sepcli.load(tiny_images, preset="estimate").describe() == sepcli.load(tiny_images).describe()
    shorter = sepcli.load(tiny_images, preset="draws", settings={"steps": 3, "moments": "jacobian"})
    assert (shorter.engine.evaluations, shorter.describe()["settings"]["moments"]) == (3, "jacobian")


def test_priors_of_audio_draw_too(tmp_path: Path) -> None:
    sounds = [str(make_sound(tmp_path / name, name)) for name in ("violin", "cello")]
    separator = sepcli.load(sounds, preset="draws", settings={"steps": 2})
    assert separator.describe()["settings"]["moments"] == "jacobian"
    mixture = torch.linspace(-0.5, 0.5, 4000).sin()
    result = separator.separate(mixture, sample_rate=separator.sample_rate, samples=2)
    assert torch.isfinite(result.samples).all()


def test_tokens_have_no_draws(tiny_prior: Path) -> None:
    assert choose(str(tiny_prior), preset="estimate").preset is PRESETS[ESTIMATE]
    with pytest.raises(UsageError) as error:
        choose(str(tiny_prior), preset="draws")
    assert error.value.argument == "preset"


def test_a_separator_of_a_function_has_presets() -> None:
    prior = sepcli.from_denoiser(lambda x, sigma: x / (1 + sigma**2), 0.02, 8.0)
    draws = sepcli.Separator([prior, prior], preset="draws")
    settings = draws.describe()["settings"]
    assert {key: settings[key] for key in USED} == USED
    assert (settings["sigma_min"], settings["sigma_max"]) == (0.02, 8.0)
    assert torch.isfinite(draws.separate(torch.rand(4, 4)).samples).all()
    plain = sepcli.Separator([prior, prior]).describe()
    assert plain == sepcli.Separator([prior, prior], preset="estimate").describe()
    with pytest.raises(UsageError):
        sepcli.Separator([prior, prior], preset="draws", sampler=Projected())


def test_a_denoiser_without_a_graph_needs_the_diagonal() -> None:
    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return x / (1 + sigma**2)

    prior = sepcli.from_denoiser(denoise, 0.02, 8.0)
    with pytest.raises(sepcli.PriorError):
        sepcli.Separator([prior, prior], preset="draws").separate(torch.rand(4, 4))
    plain = sepcli.Separator([prior, prior], preset="draws", settings={"moments": "diagonal"})
    assert torch.isfinite(plain.separate(torch.rand(4, 4)).samples).all()


def test_without_a_variance_sources_are_not_weighed(tmp_path: Path) -> None:
    config = DenoiserConfig(widths=(8,), blocks=1, attention=0, embedding=8, variance=False)
    folder = write_image_prior(tmp_path / "plain", "digit", config)
    settings = sepcli.load(folder, preset="draws").describe()["settings"]
    assert settings["weigh"] is False


PASSED = Draws(mixtures=200, samples=19, p_value=0.3, coverage=0.91)


def measured(source: Path, folder: Path, draws: Draws) -> str:
    """A copy of a prior whose card has a calibration."""
    shutil.copytree(source, folder)
    cards.write(structs.replace(cards.read(folder), draws=draws), folder)
    assert cards.read(folder).draws == draws
    return str(folder)


@pytest.mark.parametrize(
    ("p_value", "coverage", "calibrated"),
    [(0.051, 0.87, True), (0.9, 0.93, True), (0.05, 0.9, False), (0.9, 0.869, False), (0.9, 0.931, False)],
)
def test_draws_are_calibrated_if_they_pass_both_tests(
    p_value: float, coverage: float, calibrated: bool
) -> None:
    assert Draws(mixtures=200, samples=19, p_value=p_value, coverage=coverage).calibrated is calibrated


def test_a_separator_for_several_samples_draws_where_the_card_says_that_they_are_calibrated() -> None:
    assert sepcli.load("mnist", samples=2).describe() == sepcli.load("mnist", preset="draws").describe()
    assert sepcli.load("mnist", samples=1).describe() == sepcli.load("mnist").describe()
    assert sepcli.load("mnist", samples=2, preset="estimate").describe() == sepcli.load("mnist").describe()
    several, one = (sepcli.load("cifar10", samples=n).describe() for n in (2, 1))
    assert several == one  # its card says nothing of draws
    with pytest.raises(UsageError) as error:
        sepcli.load("mnist", samples=0)
    assert error.value.argument == "samples"


def test_several_samples_are_draws_where_the_card_says_that_they_are_calibrated(
    tiny_images: Path, tmp_path: Path
) -> None:
    passed = measured(tiny_images, tmp_path / "passed", PASSED)
    failed = measured(tiny_images, tmp_path / "failed", structs.replace(PASSED, p_value=0.01))
    assert choose(passed, samples=2).preset.name == DRAWS
    assert choose(passed, samples=1).preset.name == ESTIMATE
    assert choose(passed, samples=2, preset="estimate").preset.name == ESTIMATE
    assert choose(passed, samples=2, sampler="projected").preset.name == ESTIMATE
    assert choose([passed, passed], samples=2).preset.name == DRAWS
    for priors in (failed, str(tiny_images), [passed, failed]):
        assert choose(priors, samples=2).preset.name == ESTIMATE


def test_a_setting_of_the_other_preset_is_refused_by_name(tiny_images: Path) -> None:
    with pytest.raises(UsageError) as error:
        sepcli.load(tiny_images, preset="draws", settings={"candidates": 4})
    assert error.value.argument == "settings.candidates"
    assert "estimate" in error.value.hint
    with pytest.raises(UsageError) as plain:
        sepcli.load(tiny_images, sampler="projected", settings={"candidates": 4})
    assert "estimate" not in plain.value.hint


def test_colors_are_no_draws_of_sums(tiny_colors: Path, tmp_path: Path) -> None:
    passed = measured(tiny_colors, tmp_path / "passed", PASSED)
    assert choose(passed, samples=2).preset.name == DRAWS
    assert choose(passed, samples=2, colorize=(0.3, 0.6, 0.1)).preset.name == ESTIMATE


def test_draws_of_priors_that_reject_interference_say_what_they_are_not(tmp_path: Path) -> None:
    folders = [Path(make_sound(tmp_path / name, name)) for name in ("violin", "cello")]
    part = cards.Part("denoiser", training={"steps": 5000, "seconds": 600, "interference_share": 0.9})
    card = cards.with_part(cards.read(folders[1]), "denoiser", part)
    cards.write(card, folders[1])
    priors = [str(folder) for folder in folders]
    assert choose(priors).notes == ()
    assert choose(folders[0].as_posix(), other=True, preset="draws").notes == ()
    first, second = choose(priors, preset="draws").notes
    assert "cello" in first
    assert "violin" not in first
    assert "--calibration" in second
