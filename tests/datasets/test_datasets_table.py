"""The table of data sets: rows resolve without torch, detection, items from Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_songs import make_musdb

import sepcli.datasets as datasets
from sepcli.datasets import DATASETS, resolve
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.errors import InputError, UsageError

DIGITS = Path(__file__).parents[1] / "data" / "digits"
BLOCKED = "import sys; sys.modules |= dict.fromkeys(('torch', 'numpy', 'scipy', 'soundfile', 'PIL'))"


@pytest.mark.parametrize("name", DATASETS)
def test_every_row_resolves_and_has_a_function(name: str) -> None:
    row = DATASETS[name]
    assert callable(resolve(row.open))
    assert not row.detect or callable(resolve(row.detect))
    assert callable(getattr(datasets, name.replace("-", "_")))
    assert (row.medium == "image") == bool(row.pairing)
    assert row.summary


def test_the_table_needs_no_torch() -> None:
    subprocess.run([sys.executable, "-c", f"{BLOCKED}; import sepcli.datasets"], check=True)


def test_layouts_are_told_apart(tmp_path: Path, tiny_slakh: Path) -> None:
    folders = {"mnist": DIGITS, "slakh": tiny_slakh, "musdb": make_musdb(tmp_path / "musdb", 0.1)}
    for name, row in DATASETS.items():
        if row.detect and name != "images":
            assert {n for n, folder in folders.items() if resolve(row.detect)(folder)} == {
                name
            } & folders.keys()
    assert not resolve(DATASETS["images"].detect)(DIGITS)


def test_items_from_python(tmp_path: Path, tiny_slakh: Path) -> None:
    digits = datasets.mnist(DIGITS).pairs(3)
    assert [pair.sources.shape for pair in digits.items(0)] == [(2, 1, 28, 28)] * 3
    assert datasets.mnist(str(DIGITS)).pairs(1, "class").names == ("0-4", "5-9")
    assert len(datasets.builtin().pairs(2).ids(("drums", "bass"))) == 2
    (toy,) = datasets.toy_waves().pairs(1).items(("sine", "square"), 0)
    assert toy.sources.shape[0] == 2
    songs = datasets.slakh(tiny_slakh, "valid").pairs(1)
    assert songs.complete(("drums", "bass")) == ["Track00003"]
    assert datasets.musdb(make_musdb(tmp_path, 0.1)).complete(("vocals",))
    with pytest.raises(UsageError, match="odd"):
        datasets.mnist(DIGITS).pairs(1, "odd")


def test_two_sets_of_images_are_paired_one_of_each() -> None:
    digits = datasets.mnist(DIGITS)
    low, high = digits.only(digits.labels < 5), digits.only(digits.labels >= 5)
    pairs = low.pairs(4, other=high)
    assert len(pairs.originals) == len(digits)
    for pair in pairs.items(0):
        first, second = np.rint(pair.sources * 255).astype(np.uint8)
        assert (low.images == first).all((1, 2, 3)).any()
        assert (high.images == second).all((1, 2, 3)).any()
    with pytest.raises(InputError, match="photos"):
        LabelledImages(digits.images, digits.labels, title="photos").pairs(1, "class")
