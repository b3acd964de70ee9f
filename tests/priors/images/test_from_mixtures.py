"""Priors from mixtures: the Gaussian of the first round, samples that are unmixed, and rounds of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sepcli.catalog import card as cards
from sepcli.cli.app import run as sepcli
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.errors import UsageError
from sepcli.priors.images.from_mixtures import WEIGHT, GaussianImages, unmixed
from sepcli.priors.train import train
from sepcli.training.config import TrainConfig

DIGITS = Path(__file__).parents[2] / "data" / "digits"


def gaussian(mean: float, std: float, count: int, seed: int) -> torch.Tensor:
    """Images of one brightness each, with a little noise."""
    g = torch.Generator().manual_seed(seed)
    level = mean + std * torch.randn(count, 1, 1, 1, generator=g)
    return level + 0.05 * torch.randn(count, 1, 4, 4, generator=g)


def test_the_first_prior_has_the_moments_of_the_difference() -> None:
    x, y = gaussian(0.3, 0.2, 20_000, 0), gaussian(0.6, 0.1, 20_000, 1)
    others = gaussian(0.6, 0.1, 20_000, 2)
    prior = GaussianImages.of_difference(WEIGHT * (x + y), others)
    assert prior.mean.tolist() == pytest.approx([0.3] * 16, abs=0.02)
    top = float(prior.variances.max())
    assert top == pytest.approx(16 * 0.2**2 + 0.05**2, rel=0.1)  # of the brightness of all 16 values
    sigma, noisy = torch.tensor(0.5), torch.full((1, 1, 1, 4, 4), 0.7)
    shrunk = 0.3 + 0.4 * top / (top + 0.25)
    mean, variance = prior.moments(noisy, sigma)
    assert mean.flatten().tolist() == pytest.approx([shrunk] * 16, abs=0.03)
    assert bool((variance > 0).all())


def test_large_images_need_a_prior_to_start_from() -> None:
    with pytest.raises(UsageError) as error:
        GaussianImages.of_difference(torch.zeros(2, 1, 65, 64), torch.zeros(2, 1, 65, 64))
    assert error.value.argument == "init"


def test_unmixed_images_depend_on_their_number_only(tiny_images: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (70, 1, 12, 12), dtype=np.uint8)
    labels = np.zeros(70, np.int64)
    device = torch.device("cpu")
    both = LabelledImages(pixels, labels), LabelledImages(pixels[:3], labels[:3])
    found, held_out = unmixed(both, str(tiny_images), str(tiny_images), 2, 0, device)
    assert found.images.shape == pixels.shape
    assert not np.array_equal(found.images[:3], held_out.images)  # seeds differ between sets
    (few,) = unmixed((both[0].only(slice(0, 66)),), str(tiny_images), str(tiny_images), 2, 0, device)
    close = np.abs(few.images.astype(int) - found.images[:66])
    assert close.max() <= 1  # rounding, of batches of another size


@pytest.fixture
def mixtures(tmp_path: Path) -> Path:
    folder = tmp_path / "mixtures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(30):
        image = rng.integers(0, 255, (12, 12), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


def test_rounds_of_training(tiny_images: Path, mixtures: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    words = [
        "train-prior",
        "--family",
        "denoiser",
        "--data",
        str(mixtures),
        "--preset",
        "tiny",
        "--steps",
        "2",
    ]
    words += ["--batch", "4", "--from-mixtures", str(tiny_images), "--set", "posterior_steps=2", "-q"]
    assert sepcli([*words, "--out", str(first)]) == 0
    assert sepcli([*words, "--out", str(second), "--init", str(first)]) == 0
    card = cards.read(second)
    assert card.parts["denoiser"].training["from_mixtures_with"] == tiny_images.name
    assert len(card.parts["denoiser"].history) == 1


def test_mixtures_have_no_classes(tiny_images: Path, tmp_path: Path) -> None:
    config = TrainConfig("denoiser", DIGITS, tmp_path / "out", "tiny")
    with pytest.raises(UsageError) as error:
        train(config, {"from_mixtures": str(tiny_images), "classes": "halves"})
    assert error.value.argument == "settings.from_mixtures"
