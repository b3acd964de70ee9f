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
from io import BufferedReader
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
LARGEST = 1 << 30
"""The most values of a file: the largest set of this format has 640 million."""
MOST_AXES = 4
BLOCK = 1 << 20
"""Bytes that are unpacked at once."""
Stream = gzip.GzipFile | BufferedReader


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
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            shape = _shape(path, stream)
            values = np.empty(math.prod(shape), np.uint8)  # takes memory when it is filled
            held = _fill(values, stream)
            more = stream.read(1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error})", "copy or download it again") from error
    if held < len(values) or more:
        holds = "more" if more else str(held)
        raise InputError(
            f"{path} announces {len(values)} values and holds {holds}", "copy or download it again"
        )
    return values.reshape(shape)


def _shape(path: Path, stream: Stream) -> tuple[int, ...]:
    """Return the lengths of the axes that a header announces, before anything else is unpacked."""
    header = stream.read(4)
    axes = header[3] if len(header) == 4 else 0
    lengths = stream.read(4 * axes)
    if header[:3] != b"\0\0\x08" or not 0 < axes <= MOST_AXES or len(lengths) < 4 * axes:
        raise InputError(f"{path} is not an IDX file of unsigned bytes", "use the files of MNIST")
    shape = struct.unpack(f">{axes}I", lengths)
    if (size := math.prod(shape)) > LARGEST:
        raise InputError(f"{path} announces {size:,} values", f"use files of up to {LARGEST:,}")
    return shape


def _fill(values: NDArray[np.uint8], stream: Stream) -> int:
    """Read values from a stream, as many as there are; return their number."""
    done = 0
    while done < len(values) and (block := stream.read(min(BLOCK, len(values) - done))):
        values[done : done + len(block)] = np.frombuffer(block, np.uint8)
        done += len(block)
    return done


def _find(folder: Path, stem: str, axes: int) -> Path:
    names = [f"{stem}{dot}idx{axes}-ubyte{end}" for dot in "-." for end in (".gz", "")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder} has no {names[0]}", "give the folder that holds MNIST's four files")
