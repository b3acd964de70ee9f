"""Sets of images: kept on disk, compared by features, resumed with their images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sepcli.datasets.image_pairs import Group, ImagePairs, LabelledImages, random_pairs
from sepcli.errors import InputError, OutputError, UsageError
from sepcli.evaluation.distribution import ORIGINALS, Sets
from sepcli.evaluation.kept_images import has_images, image_place, keep_images
from sepcli.evaluation.report import Report, table
from sepcli.evaluation.run import run
from sepcli.evaluation.tasks.images import ImageSums
from sepcli.metrics.distribution import frechet_distance, inception_scores, moments
from sepcli.metrics.features import Extractor
from sepcli.separation.engines import ScoreEngine

SHAPE = (3, 4, 4)


def see(image_set: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean colors, and classes that follow from them."""
    features = image_set.mean((2, 3), dtype=np.float32) / 255
    weights = np.exp(5 * features)
    return features, weights / weights.sum(1, keepdims=True)


SEEING = Extractor("fd-cifar", see, {"sha256": "0"}, SHAPE)


def images(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    tints = rng.integers(0, 256, (count, 3, 1, 1))
    return (0.8 * tints + 0.2 * rng.integers(0, 256, (count, *SHAPE))).astype(np.uint8)


@dataclass(frozen=True)
class Rounded:
    """Knows the sources up to the noise of its seeds; fulfils what a run asks of a separator."""

    weights: tuple[float, ...] = (1.0, 1.0)
    density: None = None
    evaluations: int = 3
    calls: list[int] = field(default_factory=list)

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: object = None) -> Tensor:
        self.calls.append(len(mixture))
        noise = torch.stack(
            [
                torch.stack([torch.rand(SHAPE, generator=torch.Generator().manual_seed(int(s))) for s in row])
                for row in seeds
            ]
        )
        first = noise * mixture[:, None]
        return torch.stack([first, mixture[:, None] - first], 2)

    def log_prior(self, sources: Tensor) -> Tensor:
        return -sources.flatten(1).square().mean(1)


def engine() -> ScoreEngine:
    return Rounded()  # type: ignore[return-value]


def source(count: int = 30) -> ImagePairs:
    everything = images(0, count)
    group = Group(everything, np.arange(count))
    return ImagePairs("images", "any two", ("first", "second"), (group, group), 5)


def evaluate(
    separator: ScoreEngine,
    pairs: int,
    metrics: tuple[str, ...] = ("fd-cifar", "psnr", "cs-cifar"),
    samples: int = 1,
    **options: Any,
) -> Report:
    networks = {"fd-cifar": SEEING}
    task = ImageSums(replace(source(), count=pairs), separator, samples, networks=networks)
    return run(task, metrics, batch=2, **options)


def test_more_images_than_a_disk_has(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        evaluate(engine(), 10**17, ("fd-cifar",), journal=tmp_path / "journal")
    assert not image_place(tmp_path / "journal").exists()


def test_images_are_kept_in_eight_bits(tmp_path: Path) -> None:
    rows, shape, place = ("a", "b"), (3, 2, *SHAPE), tmp_path / "kept"
    values = torch.linspace(-0.2, 1.2, 2 * 48).reshape(2, *SHAPE)
    with keep_images(rows, shape, place, go_on=False) as kept:
        kept.put(1, "b", values)
    assert has_images(place, rows, shape)
    assert not has_images(place, rows, (4, 2, *SHAPE))
    with keep_images(rows, shape, place, go_on=True) as kept:
        kept.put(0, "a", torch.ones(2, *SHAPE))
        found = kept.sets()
        assert found["a"].shape == (6, *SHAPE)
        assert (found["a"][:2] == 255).all()
        np.testing.assert_array_equal(found["b"][2:4], (values.clamp(0, 1) * 255).round().byte().numpy())
        assert not found["a"][2:].any()


def test_links_are_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "kept").symlink_to(tmp_path / "mine")
    with keep_images(("a",), (1, 1, *SHAPE), tmp_path / "kept", go_on=False) as kept:
        kept.put(0, "a", torch.ones(1, *SHAPE))
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_sets_are_compared_with_all_originals() -> None:
    originals, ours = images(0, 301), images(1, 290)  # more than one part each
    seen: list[tuple[int, int]] = []
    sets = Sets(("fd-cifar", "cs-cifar"), {"fd-cifar": SEEING}, originals)
    scores, notes, intervals = sets.score({"sepcli": ours}, lambda *step: seen.append(step))
    found = {(s.metric, s.method): s.value for s in scores if s.metric == "fd-cifar"}
    direct = frechet_distance(moments(see(ours)[0]), moments(see(originals)[0]))
    assert found["fd-cifar", "sepcli"] == pytest.approx(direct, rel=1e-4)
    assert 0 < found["fd-cifar", ORIGINALS] < 0.1
    parts = [s.value for s in scores if (s.metric, s.method) == ("cs-cifar", "sepcli")]
    assert len(parts) == 10
    assert np.mean(parts) == pytest.approx(inception_scores(see(ours)[1]).mean(), rel=0.05)
    low, high = intervals["fd-cifar", "sepcli"]
    assert low < direct < high
    assert list(intervals) == [("fd-cifar", "sepcli")]
    assert seen[-1] == (591, 591)
    assert not notes


def test_what_cannot_be_compared_is_refused() -> None:
    gray = Sets(("fd-cifar",), {"fd-cifar": SEEING}, np.zeros((9, 1, 4, 4), np.uint8))
    with pytest.raises(UsageError, match="fd-cifar"):
        gray.check(10)
    with pytest.raises(UsageError):
        Sets(("fd-cifar",), {"fd-cifar": SEEING}, images(0, 9)).check(1)


def test_few_images_have_a_note() -> None:
    _, notes, _ = Sets(("fd-cifar",), {"fd-cifar": SEEING}, images(0, 6)).score({"a": images(1, 9)}, None)
    (note,) = notes
    assert "fd-cifar" in note
    assert note.count("3") == 2  # images and features


def test_a_report_has_one_value_per_set() -> None:
    report = evaluate(engine(), 5, samples=2)
    rows = report.results["fd-cifar"]
    assert list(rows) == ["sepcli", "sepcli-2x", "average", ORIGINALS]
    assert list(report.results["psnr"]) == ["sepcli", "sepcli-2x", "average"]
    assert rows["sepcli"]["images"].n == 1
    assert report.results["cs-cifar"]["sepcli"]["images"].n == 10
    assert not {"fd-cifar", "cs-cifar"} & report.differences.keys()
    assert report.protocol.metrics == ("psnr", "fd-cifar", "cs-cifar", "residual")
    assert report.protocol.settings["networks"] == {"fd-cifar": {"sha256": "0"}}
    assert "lower" in report.protocol.as_dict()["aggregation"]["fd-cifar"]
    values = {row: value for row, value, *_ in table(report.results, "fd-cifar")[1]}
    assert values["sepcli"].count(".") == 3  # a value and its interval
    assert values[ORIGINALS].count(".") == 1  # the two halves have none
    # half of a sum is nobody's color: the mean image of both, twice
    halves = [pair.sources.mean(0) for pair in random_pairs(source().groups, 5, 0)]
    kept = np.rint(np.repeat(np.stack(halves), 2, 0) * 255).astype(np.uint8)
    direct = frechet_distance(moments(see(kept)[0]), moments(see(images(0, 30))[0]))
    assert rows["average"]["images"].mean == pytest.approx(direct, rel=1e-3)


def test_clips_are_of_a_pair_in_its_better_order() -> None:
    report = evaluate(engine(), 3, ("psnr",))
    assert report.clips_of is not None
    clips = report.clips_of("pair-00002")
    assert [(c.row, c.stem) for c in clips[:3]] == [
        ("mixture", "mixture"),
        ("reference", "first"),
        ("reference", "second"),
    ]
    assert {c.row for c in clips[3:]} == {"sepcli", "average"}


def interrupted(journal: Path, at: int) -> None:
    def stop(done: int, total: int) -> None:
        if done > at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(engine(), 6, journal=journal, on_progress=stop)


def test_a_run_is_continued_with_its_images(tmp_path: Path) -> None:
    whole, journal = evaluate(engine(), 6), tmp_path / "journal"
    interrupted(journal, 4000)
    assert len(journal.read_text().splitlines()) == 3
    assert image_place(journal).is_file()
    other = Rounded()
    resumed = evaluate(other, 6, journal=journal)  # type: ignore[arg-type]
    assert other.calls == [2]  # the last batch alone
    assert (resumed.scores, resumed.protocol) == (whole.scores, whole.protocol)


@pytest.mark.parametrize("lost", ["all", "some"])
def test_scores_without_their_images_are_made_again(tmp_path: Path, lost: str) -> None:
    whole, journal = evaluate(engine(), 6), tmp_path / "journal"
    interrupted(journal, 4000)
    place = image_place(journal)
    if lost == "all":
        place.unlink()
    else:
        place.write_bytes(place.read_bytes()[:-1])
    resumed = evaluate(engine(), 6, journal=journal)
    assert (resumed.scores, resumed.protocol) == (whole.scores, whole.protocol)


def test_sums_of_more_are_of_different_images() -> None:
    images = LabelledImages(np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1), np.zeros(4, np.int64))
    sums = images.pairs(20, sources=3)
    assert sums.names == ("image-1", "image-2", "image-3")
    for item in sums.items(0):
        assert item.sources.shape == (3, 1, 1, 1)
        assert len(np.unique(item.sources)) == 3
    assert [item.id for item in images.pairs(2, sources=3).items(1)] == ["sum-00000", "sum-00001"]
    with pytest.raises(InputError):
        list(images.pairs(1, sources=5).items(0))
    for wrong in ({"sources": 1}, {"sources": 3, "pairing": "class"}, {"sources": 3, "other": images}):
        with pytest.raises(UsageError):
            images.pairs(1, **wrong)  # type: ignore[arg-type]


def test_pairs_of_two_folders_may_have_one_number() -> None:
    first, second = images(0, 1), images(1, 1)
    groups = (Group(first, np.arange(1)), Group(second, np.arange(1)))
    for pair in random_pairs(groups, 3, 0):
        np.testing.assert_array_equal((pair.sources * 255).round().astype(np.uint8), [first[0], second[0]])
    assert len(ImagePairs("", "", ("a", "b"), groups, 3).originals) == 2

    def alone() -> Iterator[object]:
        return random_pairs((groups[0], groups[0]), 1, 0)

    with pytest.raises(InputError):
        list(alone())
