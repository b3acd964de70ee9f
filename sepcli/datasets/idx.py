"""MNIST and its kin: images and labels in the IDX format, plain or gzipped.

An IDX file is four bytes 0, 0, type, number of axes; the length of every axis as a big-endian 32-bit
number; the values. Only the type 0x08, unsigned bytes, is in use.

Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sepcli.datasets.image_decoder import Decoder
from sepcli.datasets.image_pairs import Half, LabelledImages
from sepcli.errors import InputError

STEMS = {"train": "train", "test": "t10k"}
"""Split → how its files' names begin."""
HALVES: tuple[Half, Half] = (("0-4", frozenset(range(5))), ("5-9", frozenset(range(5, 10))))
"""The two parts of the class-split protocol."""
LARGEST = 1 << 31
"""Values that a file may announce."""


def open_mnist(folder: str | Path, split: str = "test", decoder: Decoder | None = None) -> LabelledImages:
    """Open a split of MNIST, ``train`` or ``test``; the test digits bring the training digits along.

    The decoder is ignored: digits have their size.

    Raises:
        InputError: see ``open_digits``.
    """
    root = Path(folder)
    training = partial(open_digits, root, "train") if split == "test" else None
    digits = open_digits(root, split)
    return replace(digits, title=f"MNIST, {split} digits", halves=HALVES, training=training)


def is_mnist(folder: Path) -> bool:
    """Whether a folder holds MNIST's files."""
    return any(path.is_file() for stem in STEMS.values() for path in folder.glob(f"{stem}-images*"))


def open_digits(folder: Path, split: str) -> LabelledImages:
    """Read the images (N, 1, H, W), 0 is background, and the labels of a split of MNIST.

    Files are called ``train-images-idx3-ubyte.gz`` and so on; ``.gz`` and a dot before ``idx`` are optional.

    Raises:
        InputError: a file is missing or damaged, or the two do not fit each other.
    """
    images = read_idx(_find(folder, f"{STEMS[split]}-images", 3))
    labels = read_idx(_find(folder, f"{STEMS[split]}-labels", 1))
    if images.ndim != 3 or labels.ndim != 1 or not images.size:
        raise InputError(f"{folder} holds no images of the split {split}", "use MNIST's files")
    return LabelledImages(images[:, None], labels.astype(np.int64), tuple(map(str, range(10))))


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes.

    Raises:
        InputError: it cannot be read, is of another type, or is not as long as it says.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error})", "copy or download it again") from error
    if len(data) < 4 or data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise InputError(f"{path} is not an IDX file of unsigned bytes", "use the files of MNIST")
    axes = data[3]
    shape = struct.unpack(f">{axes}I", data[4 : 4 + 4 * axes])
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * axes)
    size = math.prod(shape)
    if size > LARGEST or values.size != size:
        raise InputError(
            f"{path} announces {size} values and holds {values.size}", "copy or download it again"
        )
    return values.reshape(shape).copy()


def _find(folder: Path, stem: str, axes: int) -> Path:
    names = [f"{stem}{dot}idx{axes}-ubyte{end}" for dot in "-." for end in (".gz", "")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder} has no {names[0]}", "give the folder that holds MNIST's four files")
