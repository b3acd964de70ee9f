"""MNIST's files, whole and damaged."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sepcli.datasets.idx import open_digits, read_idx
from sepcli.errors import InputError

DIGITS = Path(__file__).parents[1] / "data" / "digits"


def idx(values: NDArray[np.uint8]) -> bytes:
    return (
        b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    )


@settings(max_examples=25, deadline=None)
@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=3), zipped=st.booleans())
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], zipped: bool
) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(idx(values), mtime=0) if zipped else idx(values))
    found = read_idx(path)
    assert found.dtype == np.uint8
    assert np.array_equal(found, values)


def test_real_digits() -> None:
    for split in ("train", "test"):
        digits = open_digits(DIGITS, split)
        assert digits.images.shape[1:] == (1, 28, 28)
        assert digits.images.max() == 255
        assert set(digits.labels) <= set(range(10))
        assert len(digits.only(digits.labels < 5).images) == int((digits.labels < 5).sum())


@pytest.mark.parametrize("name", ["t10k-labels.idx1-ubyte", "t10k-labels-idx1-ubyte"])
def test_other_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 3, 3), np.uint8)))
    (tmp_path / name).write_bytes(idx(np.ones(2, np.uint8)))
    assert open_digits(tmp_path, "test").labels.tolist() == [1, 1]


GOOD = idx(np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\0\0",
        b"PNG...",
        GOOD[:-1],
        GOOD + b"x",
        GOOD[:6],
        b"\0\0\x0d" + GOOD[3:],
        b"\0\0\x08\x03" + b"\xff" * 12,
        gzip.compress(GOOD, mtime=0)[:-9],
        gzip.compress(GOOD, mtime=0)[:10] + b"garbage",
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(bad)
    with pytest.raises(InputError):
        read_idx(path)


def test_missing_and_unfit_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train-images"):
        open_digits(tmp_path, "train")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 3, 3), np.uint8)))
    with pytest.raises(InputError, match="train-labels"):
        open_digits(tmp_path, "train")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(3, np.uint8)))
    with pytest.raises(InputError, match=r"(?=.*\b2\b)(?=.*\b3\b)"):
        open_digits(tmp_path, "train")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((3, 3), np.uint8)))
    with pytest.raises(InputError, match=r"\btrain\b"):
        open_digits(tmp_path, "train")
