"""CIFAR-10's binary version, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from sepcli.datasets.cifar import CLASSES, HALVES, RECORD, is_cifar, open_cifar
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.errors import InputError


def records(seed: int, labels: list[int]) -> np.ndarray:
    data = np.random.default_rng(seed).integers(0, 256, (len(labels), RECORD), np.uint8)
    data[:, 0] = labels
    return data


def test_records_are_planes_of_red_green_and_blue(tmp_path: Path) -> None:
    data = records(0, [0, 9, 3])
    data[1, 1:1025] = 255  # all red
    data.tofile(tmp_path / "test_batch.bin")
    found = open_cifar(tmp_path, "test")
    assert found.images.shape == (3, 3, 32, 32)
    assert found.labels.tolist() == [0, 9, 3]
    assert found.classes == CLASSES
    assert (found.images[1, 0] == 255).all()
    assert found.images[2, 1, 0, 5] == data[2, 1 + 1024 + 5]
    assert found.images[2, 2, 1, 0] == data[2, 1 + 2048 + 32]
    assert is_cifar(tmp_path)


def test_five_files_in_the_archive_s_folder_are_one_split(tmp_path: Path) -> None:
    inside = tmp_path / "cifar-10-batches-bin"
    inside.mkdir()
    for n in range(1, 6):
        records(n, [n, n]).tofile(inside / f"data_batch_{n}.bin")
    assert is_cifar(tmp_path)
    assert open_cifar(tmp_path, "train").labels.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    (inside / "data_batch_4.bin").unlink()
    with pytest.raises(InputError, match=r"data_batch_4\.bin"):
        open_cifar(tmp_path, "train")


@pytest.mark.parametrize("name", ["test_batch", "data_batch_1"])
def test_pickles_are_refused_unread(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    assert is_cifar(tmp_path)
    with pytest.raises(InputError, match=re.escape(str(tmp_path))) as caught:
        open_cifar(tmp_path, "test")
    assert "binary" in caught.value.hint


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "test_batch.bin"
    for data in (b"", records(0, [1]).tobytes()[:-1], records(0, [12]).tobytes()):
        file.write_bytes(data)
        with pytest.raises(InputError, match=re.escape(file.name)):
            open_cifar(tmp_path, "test")
    with file.open("wb") as huge:
        huge.truncate(10_001 * RECORD)
    with pytest.raises(InputError, match=re.escape(file.name)):
        open_cifar(tmp_path, "test")


def test_animals_and_machines() -> None:
    images = LabelledImages(np.zeros((10, 3, 32, 32), np.uint8), np.arange(10), CLASSES, halves=HALVES)
    pairs = images.pairs(1, "class")
    animals, machines = (group.chosen for group in pairs.groups)
    assert pairs.names == ("animals", "machines")
    assert [CLASSES[n] for n in machines] == ["airplane", "automobile", "ship", "truck"]
    assert sorted([*animals, *machines]) == list(range(10))
    with pytest.raises(InputError, match="CIFAR-10"):
        LabelledImages(images.images, images.labels, ("cat", "dog"), title="CIFAR-10").pairs(1, "class")
