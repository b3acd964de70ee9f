"""From a separator and data to a task, as a notebook would."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_engine import FakeEngine
from torch import Tensor

from sepcli import datasets
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.errors import UsageError
from sepcli.evaluation.run import run
from sepcli.evaluation.tasks.choice import task_of
from sepcli.evaluation.tasks.colorization import WEIGHTS
from sepcli.separation.separator import Separator

DIGITS = Path(__file__).parents[1] / "data" / "digits"


@dataclass
class Shares(FakeEngine):
    """Every source is an equal share of the mixture."""

    names: tuple[str, ...] = ("drums", "bass")
    weights: tuple[float, ...] = (0.5, 0.5)
    sample_rate: int = 22050

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: object = None) -> Tensor:
        shares = torch.stack([mixture / (len(self.weights) * w) for w in self.weights], 1)
        return shares[:, None].repeat(1, seeds.shape[1], *[1] * shares[0].ndim)


def test_audio_and_songs(tiny_slakh: Path) -> None:
    separator = Separator.of(Shares())
    report = run(task_of(separator, datasets.builtin().pairs(2)), ["usdr"])
    rows = report.results["usdr"]
    assert rows["sepcli raw"]["average"].mean == pytest.approx(rows["average"]["average"].mean, abs=1e-3)
    assert report.protocol.settings["engine"] == "fake"
    report = run(task_of(separator, datasets.slakh(tiny_slakh, "valid").pairs(1)), ["usdr"])
    assert {score.track for score in report.scores} == {"Track00003"}


def test_pairs_of_images_have_the_weights_of_the_separator() -> None:
    pairs = datasets.mnist(DIGITS).pairs(3)
    found = [
        run(task_of(Separator.of(Shares(weights=weights, sample_rate=0)), pairs)).results["psnr"]
        for weights in ((0.5, 0.5), (1.0, 1.0))
    ]
    for rows in found:
        assert rows["sepcli"]["average"].mean == pytest.approx(rows["average"]["average"].mean, abs=1e-4)
        assert rows["sepcli"]["average"].mean == pytest.approx(found[0]["sepcli"]["average"].mean, abs=1e-4)


def test_colorization() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 12, 12)).astype(np.uint8)
    images = LabelledImages(pixels, np.zeros(4, np.int64)).colors(2)
    engine = Shares(names=("red", "green", "blue"), weights=WEIGHTS, sample_rate=0)
    report = run(task_of(Separator.of(engine), images))
    assert list(report.results["psnr"]) == ["sepcli", "gray"]


def test_another_medium_is_refused() -> None:
    with pytest.raises(UsageError, match="image"):
        task_of(Separator.of(Shares(sample_rate=0)), datasets.builtin())
    with pytest.raises(UsageError, match="audio"):
        task_of(Separator.of(Shares()), datasets.mnist(DIGITS).pairs(1))
