"""Fit: the denoising error against its closed form, the p-value, and images and recordings end to end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec import structs
from tiny_sound import make_sound

import sepcli
from sepcli.catalog import card as cards
from sepcli.catalog.measured import Fit
from sepcli.errors import PriorError, UsageError
from sepcli.separation.denoising import denoising_energies
from sepcli.separation.fit import DenoisingError, FitReference

SIGMA = 0.3


class Gaussian:
    """p(x) = N(0, 1) of every value."""

    def score(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return -x / (1 + sigma**2)


def test_the_error_of_a_gaussian_is_its_closed_form() -> None:
    x = torch.randn(3, 2, 1, 4000, generator=torch.Generator().manual_seed(0))
    weights = (1.0, 0.5)
    mixture = x[:, 0] + 0.5 * x[:, 1]
    error, power = denoising_energies(Gaussian(), weights, mixture, x, SIGMA, torch.arange(3)).unbind(1)
    # D - x = (σ ε - σ² x)/(1 + σ²), of variance σ²/(1 + σ²) for x of the prior
    expected = 4000 * (1 + 0.25) * SIGMA**2 / (1 + SIGMA**2)
    assert error.tolist() == pytest.approx([expected] * 3, rel=0.05)
    assert power.tolist() == pytest.approx(mixture.double().square().flatten(1).sum(1).tolist())
    louder = denoising_energies(Gaussian(), weights, 9 * mixture, 9 * x, SIGMA, torch.arange(3))
    assert float(louder[0, 0]) > 5 * expected  # louder than the prior


def test_parts_add_up_and_silence_has_no_error() -> None:
    error = DenoisingError()
    assert error.decibels is None
    error.add([[1.0, 40.0], [3.0, 360.0]])
    assert error.decibels == pytest.approx(-20.0)
    error.add([])
    assert error.decibels == pytest.approx(-20.0)


def test_the_fit_is_a_p_value() -> None:
    reference = FitReference(SIGMA, tuple(float(n) for n in range(19)))
    assert reference.fit(None) is None
    assert reference.fit(100.0) == pytest.approx(1 / 20)
    assert reference.fit(18.0) == pytest.approx(2 / 20)
    assert reference.fit(-1.0) == 1.0


def with_fit(folder: Path, low: float, high: float) -> str:
    fit = Fit(SIGMA, tuple(np.linspace(low, high, 20).tolist()), "mixtures of a test")
    cards.write(structs.replace(cards.read(folder), fit=fit), folder)
    assert cards.read(folder).fit == fit
    return str(folder)


def copied(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def test_images_have_a_fit_by_the_default_settings_only(tiny_images: Path, tmp_path: Path) -> None:
    image = torch.rand(12, 12, generator=torch.Generator().manual_seed(3))
    fits: dict[str, Any] = {}
    for name, low, high in (("strict", -200.0, -150.0), ("lax", 150.0, 200.0)):
        folder = with_fit(copied(tiny_images, tmp_path / name), low, high)
        fits[name] = sepcli.load(folder).separate(image).fit
        assert sepcli.load(folder, settings={"steps": 2}).separate(image).fit is None
        assert sepcli.load(folder, preset="draws", settings={"steps": 2}).separate(image).fit is None
    assert fits == {"strict": pytest.approx(1 / 21), "lax": 1.0}
    assert sepcli.load(tiny_images).separate(image).fit is None


def song(tmp_path: Path, low: float, high: float) -> str:
    """The folder of a prior of two sources of audio with a fit."""
    folder = tmp_path / "duet"
    for name in ("violin", "cello"):
        make_sound(folder / name, name)
    card = cards.Card(
        name="duet",
        medium="audio",
        engine="score",
        sources=("violin", "cello"),
        weights=(1.0, 1.0),
        sample_rate=8000,
        priors=("violin", "cello"),
        settings={"score": {"steps": 2, "sampler": "projected"}},
    )
    cards.write(card, folder)
    return with_fit(folder, low, high)


def test_recordings_have_one_of_all_windows(tmp_path: Path) -> None:
    separator = sepcli.load(song(tmp_path, -200.0, -150.0))
    mixture = np.sin(np.arange(4000) ** 1.3) * 0.3
    result = separator.separate(mixture, sample_rate=8000)
    assert result.fit == pytest.approx(1 / 21)
    (batch,) = separator.separate_batch([torch.from_numpy(mixture)[None]], seeds=[0], sample_rate=8000)
    assert batch.fit == result.fit
    assert separator.separate(np.zeros(4000), sample_rate=8000).fit is None


def test_without_a_prior_of_its_own_an_engine_has_no_error(tmp_path: Path) -> None:
    engine = sepcli.load([make_sound(tmp_path / "violin", "violin")], other=True).engine
    with pytest.raises(UsageError):
        engine.denoising_energies(  # type: ignore[attr-defined]
            torch.zeros(1, 1, 64), torch.zeros(1, 2, 1, 64), SIGMA, torch.zeros(1, dtype=torch.int64)
        )


def test_a_reference_needs_twenty_mixtures(tiny_images: Path, tmp_path: Path) -> None:
    folder = copied(tiny_images, tmp_path / "few")
    cards.write(structs.replace(cards.read(folder), fit=Fit(1.0, (0.0,))), folder)
    with pytest.raises(PriorError):
        cards.read(folder)
