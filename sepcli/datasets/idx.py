"""MNIST and its kin: images and labels in the IDX format, plain or gzipped.

An IDX file is four bytes 0, 0, type, number of axes; the length of every axis as a big-endian 32-bit
number; the values. Only the type 0x08, unsigned bytes, is in use.

Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sepcli.errors import InputError

STEMS = {"train": "train", "test": "t10k"}
"""Split → how its files' names begin."""
LARGEST = 1 << 31
"""Values that a file may announce."""


@dataclass(frozen=True)
class Digits:
    """Labelled gray images.

    Attributes:
        images: (N, H, W) uint8, 0 is background.
        labels: (N,) uint8.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise InputError(
                f"{len(self.images)} images with {len(self.labels)} labels", "Copy the data set again."
            )

    def only(self, chosen: NDArray[np.bool_] | slice) -> Digits:
        """Some of them: a mask (N,) or a slice."""
        return Digits(self.images[chosen], self.labels[chosen])


def open_digits(folder: Path, split: str) -> Digits:
    """The images and labels of a folder with MNIST's four files, named as they are distributed.

    Args:
        folder: Holds ``train-images-idx3-ubyte.gz`` and so on; ``.gz`` and a dot before ``idx`` are optional.
        split: A key of ``STEMS``.

    Raises:
        InputError: A file is missing or damaged, or the two do not fit each other.
    """
    images = read_idx(_find(folder, f"{STEMS[split]}-images", 3))
    labels = read_idx(_find(folder, f"{STEMS[split]}-labels", 1))
    if images.ndim != 3 or labels.ndim != 1 or not images.size:
        raise InputError(f"{folder} holds no images of the split {split}", "Use MNIST's files.")
    return Digits(images, labels)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes.

    Raises:
        InputError: It cannot be read, is of another type, or is not as long as it says.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error})", "Copy or download it again.") from error
    if len(data) < 4 or data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise InputError(f"{path} is not an IDX file of unsigned bytes", "Use MNIST's own files.")
    axes = data[3]
    shape = struct.unpack(f">{axes}I", data[4 : 4 + 4 * axes])
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * axes)
    size = 1
    for length in shape:
        size *= length
    if size > LARGEST or values.size != size:
        raise InputError(
            f"{path} announces {size} values and holds {values.size}", "Copy or download it again."
        )
    return values.reshape(shape).copy()


def _find(folder: Path, stem: str, axes: int) -> Path:
    names = [f"{stem}{dot}idx{axes}-ubyte{end}" for dot in "-." for end in (".gz", "")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder} has no {names[0]}", "Give the folder that holds MNIST's four files.")
