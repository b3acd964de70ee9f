"""Test images in gray, colorized: what is compared with what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from loading import colorizer_of
from torch import Tensor

from sepcli.datasets.image_pairs import LabelledImages
from sepcli.errors import InputError, UsageError
from sepcli.evaluation.report import Report
from sepcli.evaluation.run import run
from sepcli.evaluation.tasks.colorization import WEIGHTS, Colorization
from sepcli.metrics.distribution import frechet_distance, moments
from sepcli.metrics.features import Extractor
from sepcli.metrics.images import psnr
from sepcli.separation.engines import ScoreEngine
from sepcli.signal.chroma import GRAYS


def see(image_set: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features = image_set.mean((2, 3), dtype=np.float32) / 255
    return features, np.full((len(features), 2), 0.5, np.float32)


SEEING = {"fd-cifar": Extractor("fd-cifar", see, shape=(3, 8, 8))}
BOTH = ("psnr", "fd-cifar")


def colorize(
    pixels: np.ndarray,
    engine: ScoreEngine,
    count: int,
    metrics: tuple[str, ...] = BOTH,
    samples: int = 1,
    batch: int = 4,
) -> Report:
    found = LabelledImages(pixels, np.zeros(len(pixels), np.int64))
    return run(Colorization(found.colors(count), engine, samples, networks=SEEING), metrics, batch=batch)


def images(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    tints = rng.integers(60, 180, (count, 3, 1, 1))
    return (tints + rng.integers(-50, 50, (count, 1, 8, 8))).astype(np.uint8)


@dataclass(frozen=True)
class Tinted:
    """Adds a tint that the gray does not say, and a gray that is not there."""

    weights: tuple[float, ...] = WEIGHTS
    evaluations: int = 1

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: object = None) -> Tensor:
        tint = torch.tensor([0.06, -0.02, -0.04]).view(3, 1, 1, 1) + 2 / 255
        return (mixture[:, None, None] + tint).repeat(1, seeds.shape[1], 1, 1, 1, 1)

    def log_prior(self, sources: Tensor) -> None:
        return None


def tinted() -> ScoreEngine:
    return Tinted()  # type: ignore[return-value]


def test_colorizations_keep_the_gray_and_are_compared_with_all() -> None:
    originals = images(20)
    report = colorize(originals, tinted(), 12)
    assert report.protocol.dataset == "images, 12 of 20 images, colorized"
    assert report.results["residual"]["sepcli"]["mixture"].mean == pytest.approx(2.0, rel=1e-3)
    chosen = originals[np.random.default_rng(0).permutation(20)[:12]] / 255
    gray = np.repeat(chosen.mean(1, keepdims=True), 3, 1)
    ours = gray + np.array([0.06, -0.02, -0.04]).reshape(3, 1, 1)
    rows = report.results["psnr"]
    assert list(rows) == ["sepcli", "gray"]
    for row, made in (("sepcli", ours), ("gray", gray)):
        direct = np.mean([psnr(a, b) for a, b in zip(chosen, made, strict=True)])
        assert rows[row]["colors"].mean == pytest.approx(direct, abs=1e-3)
        stored = np.rint(made * 255).astype(np.uint8)
        apart = frechet_distance(moments(see(stored)[0]), moments(see(originals)[0]))
        assert report.results["fd-cifar"][row]["images"].mean == pytest.approx(apart, rel=1e-3)
    assert report.clips_of is not None
    assert [c.row for c in report.clips_of(report.scores[0].track)] == ["mixture", "reference", "sepcli"]


def test_several_draws_have_diversity_and_a_likeliest(tiny_colors: Path) -> None:
    engine = colorizer_of(str(tiny_colors), WEIGHTS, settings={"steps": "2"}).engine
    with pytest.raises(InputError, match="ssim"):
        colorize(images(6), engine, 4, ("psnr", "ssim", "fd-cifar"), samples=2)
    report = colorize(images(6), engine, 400, samples=2, batch=3)
    assert list(report.results["fd-cifar"]) == ["sepcli", "sepcli-2x", "gray", "originals"]
    spread = report.results["diversity"]["sepcli"]["colors"]
    assert spread.n == 6  # no more than there are
    assert spread.mean > 0.1
    alone = colorize(images(6), engine, 6, (), batch=6)
    first = alone.results["psnr"]["sepcli"]["colors"].mean
    assert report.results["psnr"]["sepcli"]["colors"].mean == pytest.approx(first, abs=1e-3)


def test_the_gray_is_the_mean(tiny_colors: Path) -> None:
    engine = colorizer_of(str(tiny_colors), GRAYS["luma"]).engine
    with pytest.raises(UsageError):
        colorize(images(3), engine, 3)
