"""One derivation of seeds: distinct for every key, and the same at every door."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from loading import engine_of
from PIL import Image
from torch import Tensor

from sepcli.cli.app import run
from sepcli.datasets.image_pairs import Group, ImagePairs, random_pairs
from sepcli.evaluation import run as evaluation
from sepcli.evaluation.tasks.images import ImageSums
from sepcli.protocols import ProgressCallback
from sepcli.separation.engines import ScoreEngine
from sepcli.separation.seeds import item_seed, sample_seeds


def test_seeds_of_samples_are_numpys() -> None:
    state = np.random.SeedSequence(7, spawn_key=(3, 1)).generate_state(1, np.uint64)[0]
    assert sample_seeds(7, 3, 2)[1] == int(state) >> 1
    state = np.random.SeedSequence(7, spawn_key=(3,)).generate_state(1, np.uint64)[0]
    assert item_seed(7, 3) == int(state) >> 1


def test_seeds_are_distinct_for_every_seed_block_and_sample() -> None:
    found = [s for seed in range(20) for block in range(20) for s in sample_seeds(seed, block, 20)]
    found += [item_seed(seed, number) for seed in range(20) for number in range(20)]
    assert len(set(found)) == len(found)
    assert all(0 <= seed < 2**63 for seed in found)


def test_more_samples_leave_the_first_ones_as_they_are() -> None:
    assert sample_seeds(5, 2, 3) == sample_seeds(5, 2, 9)[:3]


@dataclass
class Recording:
    """A separator that keeps what it returned."""

    inner: ScoreEngine
    found: list[Tensor] = field(default_factory=list)

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        self.found.append(self.inner.sample(mixture, seeds, on_progress))
        return self.found[-1]

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


def test_separate_repeats_an_items_draw_with_the_seed_in_the_report(
    tiny_images: Path, tmp_path: Path
) -> None:
    images = 2 * np.random.default_rng(0).integers(0, 128, (6, 1, 12, 12)).astype(np.uint8)
    group = Group(images, np.arange(6))
    source = ImagePairs("noise", "any two", ("a", "b"), (group, group), 3)
    separator = Recording(engine_of([str(tiny_images)], (1.0, 1.0), settings={"steps": "3"}))
    report = evaluation.run(ImageSums(source, separator), seed=11, batch=32)
    assert report.seeds == {f"pair-{n:05d}": item_seed(11, n) for n in range(3)}
    assert report.as_dict()["seeds"] == report.seeds
    pair = list(random_pairs(source.groups, 3, 11))[2]
    pixels = (255 * pair.sources.mean(0)[0]).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mix.png")
    words = ["separate", str(tmp_path / "mix.png"), "--prior", str(tiny_images), "--set", "steps=3", "-q"]
    words += ["-o", str(tmp_path), "--device", "cpu", "--seed", str(report.seeds[pair.id])]
    assert run(words) == 0
    stored = [np.asarray(Image.open(tmp_path / "mix" / f"digit-{k}.png")) / 255 for k in (1, 2)]
    np.testing.assert_allclose(separator.found[0][2, 0, :, 0].clamp(0, 1), stored, atol=0.51 / 255)
