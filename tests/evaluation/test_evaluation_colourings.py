"""Test pictures in grey, coloured: what is compared with what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sepcli.catalog.colours import load_colours
from sepcli.colouring import GREYS
from sepcli.errors import InputError, UsageError
from sepcli.evaluation.colourings import WEIGHTS, evaluate_colourings
from sepcli.evaluation.features import Extractor
from sepcli.evaluation.picture_runs import PictureRun
from sepcli.metrics import psnr
from sepcli.separators import ScoreSeparator
from sepcli.set_metrics import frechet_distance, moments


def see(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features = pictures.mean((2, 3), dtype=np.float32) / 255
    return features, np.full((len(features), 2), 0.5, np.float32)


SEEING = {"fd-cifar": Extractor("fd-cifar", see, shape=(3, 8, 8))}
RUN = PictureRun(metrics=("psnr", "fd-cifar"), networks=SEEING, batch=4)


def images(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    tints = rng.integers(60, 180, (count, 3, 1, 1))
    return (tints + rng.integers(-50, 50, (count, 1, 8, 8))).astype(np.uint8)


@dataclass(frozen=True)
class Tinted:
    """Adds a tint that the grey does not say, and a grey that is not there."""

    weights: tuple[float, ...] = WEIGHTS
    evaluations: int = 1

    def __call__(self, mixture: Tensor, seeds: Tensor, on_step: object = None) -> Tensor:
        tint = torch.tensor([0.06, -0.02, -0.04]).view(3, 1, 1, 1) + 2 / 255
        return (mixture[:, None, None] + tint).repeat(1, seeds.shape[1], 1, 1, 1, 1)

    def log_prior(self, sources: Tensor) -> None:
        return None


def tinted() -> ScoreSeparator:
    return Tinted()  # type: ignore[return-value]


def test_colourings_keep_the_grey_and_are_compared_with_all() -> None:
    originals = images(20)
    report = evaluate_colourings(originals, "pictures", tinted(), RUN, 12)
    assert report.protocol.dataset == "pictures, 12 of 20 pictures, coloured"
    assert report.results["residual"]["sepcli"]["mixture"].mean == pytest.approx(2.0, rel=1e-3)
    chosen = originals[np.random.default_rng(0).permutation(20)[:12]] / 255
    grey = np.repeat(chosen.mean(1, keepdims=True), 3, 1)
    ours = grey + np.array([0.06, -0.02, -0.04]).reshape(3, 1, 1)
    rows = report.results["psnr"]
    assert list(rows) == ["sepcli", "grey"]
    for row, made in (("sepcli", ours), ("grey", grey)):
        direct = np.mean([psnr(a, b) for a, b in zip(chosen, made, strict=True)])
        assert rows[row]["colours"].mean == pytest.approx(direct, abs=1e-3)
        stored = np.rint(made * 255).astype(np.uint8)
        apart = frechet_distance(moments(see(stored)[0]), moments(see(originals)[0]))
        assert report.results["fd-cifar"][row]["pictures"].mean == pytest.approx(apart, rel=1e-3)
    assert report.clips_of is not None
    assert [c.row for c in report.clips_of(report.scores[0].track)] == ["mixture", "reference", "sepcli"]


def test_several_draws_have_diversity_and_a_likeliest(tiny_colours: Path) -> None:
    engine = load_colours(str(tiny_colours), WEIGHTS, settings={"steps": "2"}).separator()
    run = PictureRun(metrics=("psnr", "ssim", "fd-cifar"), networks=SEEING, draws=2, batch=4)
    with pytest.raises(InputError, match="ssim"):
        evaluate_colourings(images(6), "pictures", engine, run, 4)
    run = PictureRun(metrics=("psnr", "fd-cifar"), networks=SEEING, draws=2, batch=3)
    report = evaluate_colourings(images(6), "pictures", engine, run, 400)
    assert list(report.results["fd-cifar"]) == ["sepcli", "sepcli-2x", "grey", "originals"]
    spread = report.results["diversity"]["sepcli"]["colours"]
    assert spread.n == 6  # no more than there are
    assert spread.mean > 0.1
    alone = evaluate_colourings(images(6), "pictures", engine, PictureRun(batch=6), 6)
    first = alone.results["psnr"]["sepcli"]["colours"].mean
    assert report.results["psnr"]["sepcli"]["colours"].mean == pytest.approx(first, abs=1e-3)


def test_the_grey_is_the_mean(tiny_colours: Path) -> None:
    engine = load_colours(str(tiny_colours), GREYS["luma"]).separator()
    with pytest.raises(UsageError):
        evaluate_colourings(images(3), "pictures", engine, RUN, 3)
