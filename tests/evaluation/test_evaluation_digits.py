"""The protocol on pairs of digits: pairs, order, resuming, cost."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loading import engine_of
from torch import Tensor

from sepcli.datasets.idx import open_mnist
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.datasets.pair_folder import Pair
from sepcli.errors import InputError, OutputError, UsageError
from sepcli.evaluation.dictionaries import dictionaries_of, learn_dictionaries
from sepcli.evaluation.report import Report
from sepcli.evaluation.run import run
from sepcli.evaluation.tasks.images import ImageSums, pair_values
from sepcli.metrics.images import psnr, residual_rms, ssim
from sepcli.separation.engines import ScoreEngine

DIGITS = Path(__file__).parents[1] / "data" / "digits"


def separator(prior: Path, weights: tuple[float, ...] = (1.0, 1.0)) -> ScoreEngine:
    return engine_of([str(prior)], weights, settings={"steps": "2"})


def evaluate_digits(data: Path, engine: ScoreEngine, pairs: int, batch: int = 32, **options: Any) -> Report:
    return run(ImageSums(open_mnist(data).pairs(pairs), engine), batch=batch, **options)


def digit_pairs(digits: LabelledImages, count: int, pairing: str = "any", seed: int = 0) -> Iterator[Pair]:
    return digits.pairs(count, pairing).items(seed)


@dataclass(frozen=True)
class Swapped:
    """Knows the answer, and gives it in the other order with a known error."""

    pair: Pair

    def drawn(self) -> Tensor:
        return torch.from_numpy(self.pair.sources).flip(0) + torch.tensor([0.1, -0.01]).view(2, 1, 1, 1)


def test_pairs_depend_on_seed_and_number_only() -> None:
    digits = open_mnist(DIGITS)
    few, many = list(digit_pairs(digits, 3, "any", 1)), list(digit_pairs(digits, 8, "any", 1))
    for one, other in zip(few, many, strict=False):
        assert one.id == other.id
        assert np.array_equal(one.sources, other.sources)
    others = list(digit_pairs(digits, 3, "any", 2))
    assert any(not np.array_equal(a.sources, b.sources) for a, b in zip(few, others, strict=True))
    for pair in many:
        assert not np.array_equal(pair.sources[0], pair.sources[1])
        assert 0.0 <= pair.sources.min() <= pair.sources.max() <= 1.0


def test_class_split_takes_one_of_each_half() -> None:
    digits = open_mnist(DIGITS)
    low = digits.only(digits.labels < 5).images[:, 0]
    high = digits.only(digits.labels >= 5).images[:, 0]
    for pair in digit_pairs(digits, 6, "class", 0):
        first, second = (pair.sources[:, 0] * 255).round().astype(np.uint8)
        assert (low == first).all((1, 2)).any()
        assert (high == second).all((1, 2)).any()


def test_a_set_without_pairs_is_refused() -> None:
    digits = open_mnist(DIGITS)
    alone = digits.only(slice(1))
    for pairing in ("any", "class"):
        with pytest.raises(InputError):
            list(digit_pairs(alone, 1, pairing))


def test_the_better_order_is_scored_and_images_are_clamped() -> None:
    pair = next(digit_pairs(open_mnist(DIGITS), 1))
    half = torch.from_numpy(pair.sources).sum(0).div(2).expand(2, -1, -1, -1)
    scores = pair_values(pair, ("a", "b"), {"ours": Swapped(pair).drawn(), "half": half})
    first, second, *halves = scores
    assert (first.method, first.stem, second.stem) == ("ours", "a", "b")
    assert first.value == pytest.approx(
        psnr(pair.sources[0], (pair.sources[0] - np.float32(0.01)).clip(0, 1))
    )
    assert second.value == pytest.approx(
        psnr(pair.sources[1], (pair.sources[1] + np.float32(0.1)).clip(0, 1))
    )
    assert [s.method for s in halves] == ["half", "half"]
    assert halves[0].value == pytest.approx(halves[1].value)  # half the sum is as far from one as the other


def test_ssim_is_of_the_order_that_psnr_chose() -> None:
    pair = next(digit_pairs(open_mnist(DIGITS), 1))
    drawn = Swapped(pair).drawn()
    scores = pair_values(pair, ("a", "b"), {"ours": drawn}, ("ssim", "psnr"))
    assert [(s.metric, s.stem) for s in scores] == [
        ("ssim", "a"),
        ("ssim", "b"),
        ("psnr", "a"),
        ("psnr", "b"),
    ]
    assert scores[0].value == pytest.approx(ssim(pair.sources[0], drawn[1].clamp(0, 1)))
    assert scores[1].value == pytest.approx(ssim(pair.sources[1], drawn[0].clamp(0, 1)))


def test_the_residual_is_in_steps_of_eight_bits() -> None:
    pair = next(digit_pairs(open_mnist(DIGITS), 1))
    mixture = pair.sources.sum(0)
    assert residual_rms(mixture, (pair.sources + np.array([-5.0, 5.0]).reshape(2, 1, 1, 1)).sum(0)) < 1e-3
    assert residual_rms(mixture, (pair.sources + 1.5 / 255).sum(0)) == pytest.approx(3.0, rel=1e-4)


def test_dictionaries_are_of_the_halves_or_shared() -> None:
    test, train = open_mnist(DIGITS), open_mnist(DIGITS, "train")
    (low, high), _ = dictionaries_of(test.pairs(1, "class"), 0)
    assert not np.array_equal(low, high)
    only = train.only(train.labels < 5).images
    np.testing.assert_array_equal(low, learn_dictionaries([only], 0)[0])
    (one, other), _ = dictionaries_of(test.pairs(1), 0)
    assert one is other
    np.testing.assert_array_equal(one, learn_dictionaries([train.images], 0)[0])
    with pytest.raises(InputError):
        learn_dictionaries([only, only[:0]], 0)
    assert dictionaries_of(train.pairs(1), 0) == ([], ())


def test_a_report_and_its_cost(tiny_images: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = evaluate_digits(
        DIGITS, separator(tiny_images), pairs=5, batch=2, on_progress=lambda *step: seen.append(step)
    )
    document = report.as_dict()
    assert seen[-1] == (5000, 5000)
    assert seen == sorted(seen)
    assert document["cost"]["evaluations"] == 2
    assert document["cost"]["seconds_per_pair"] > 0
    rows = document["results"]["psnr"]
    assert list(rows) == ["sepcli", "average", "nmf"]
    assert rows["average"]["average"]["n"] == 5
    assert 5 < rows["average"]["average"]["mean"] < 25
    assert 5 < rows["nmf"]["average"]["mean"] < 25
    assert "PSNR" in document["protocol"]["aggregation"]["psnr"]
    assert document["protocol"]["settings"]["nmf"]["atoms"] == [20, 20]  # of 20 training images
    assert document["results"]["residual"]["sepcli"]["mixture"]["mean"] < 1e-2  # it is on the constraint


def test_without_training_files_there_is_no_nmf(tiny_images: Path, tmp_path: Path) -> None:
    for file in DIGITS.glob("t10k-*"):
        shutil.copy(file, tmp_path)
    report = evaluate_digits(tmp_path, separator(tiny_images), pairs=2)
    assert list(report.results["psnr"]) == ["sepcli", "average"]
    assert report.protocol.settings["nmf"] is None
    assert any("nmf" in note and "train-images" in note for note in report.notes)


def test_an_interrupted_run_continues_to_the_same_report(tiny_images: Path, tmp_path: Path) -> None:
    engine, journal = separator(tiny_images), tmp_path / "journal"
    whole = evaluate_digits(DIGITS, engine, pairs=5, batch=2)

    def stop(done: int, total: int) -> None:
        if done > 2000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_digits(DIGITS, engine, pairs=5, batch=2, journal=journal, on_progress=stop)
    assert len(journal.read_text().splitlines()) == 2
    resumed = evaluate_digits(DIGITS, engine, pairs=5, batch=2, journal=journal)
    assert replace(resumed, cost={}) == replace(whole, cost={})
    again = evaluate_digits(DIGITS, engine, pairs=5, batch=2, journal=journal)
    assert again.scores == whole.scores
    assert "seconds_per_pair" not in again.cost
    with pytest.raises(OutputError, match=re.escape(str(journal))):
        evaluate_digits(DIGITS, engine, pairs=5, batch=2, seed=1, journal=journal)
    json.dumps(again.as_dict())


def test_only_mixtures_of_two_are_scored(tiny_images: Path) -> None:
    with pytest.raises(UsageError, match="3"):
        evaluate_digits(DIGITS, separator(tiny_images, (1.0, 1.0, 1.0)), pairs=1)
    half = evaluate_digits(DIGITS, separator(tiny_images, (0.5, 0.5)), pairs=2)
    assert half.protocol.mixture == "0.5·first + 0.5·second"
    assert half.results["residual"]["sepcli"]["mixture"].mean < 1e-2
    whole = evaluate_digits(DIGITS, separator(tiny_images), pairs=2)
    for row in ("average", "sepcli", "nmf"):
        mean = whole.results["psnr"][row]["average"].mean
        assert half.results["psnr"][row]["average"].mean == pytest.approx(
            mean, abs=0.05 if row == "average" else 3
        )
