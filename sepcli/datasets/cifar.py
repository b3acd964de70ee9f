"""CIFAR-10's binary version: 32 x 32 color images of ten classes, which are animals or machines.

A record is one byte, the class, and 3 · 32 · 32 bytes, all of red, then green, then blue, row by row; a file
has 10,000 records. The Python version is refused: its pickles can run anything when they are read.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images"; Jayaram & Thickstun 2020
    (BASIS), section 5.1, for the two halves.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sepcli.datasets.image_decoder import Decoder
from sepcli.datasets.image_folder import open_images
from sepcli.datasets.image_pairs import Half, LabelledImages
from sepcli.errors import InputError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""In the order of their numbers."""
MACHINES = frozenset((0, 1, 8, 9))
"""Numbers of the classes that are no animals."""
HALVES: tuple[Half, Half] = (("animals", frozenset(range(10)) - MACHINES), ("machines", MACHINES))
"""The two parts of the class-split protocol."""
SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE
MOST = 10_000
"""Records of a file."""
FILES = {"train": tuple(f"data_batch_{n}.bin" for n in range(1, 6)), "test": ("test_batch.bin",)}
"""Split → its files."""
INSIDE = "cifar-10-batches-bin"
"""The folder that the archive has."""
PICKLED = ("test_batch", "data_batch_1", "cifar-10-batches-py")
"""What tells the Python version."""


def is_cifar(folder: Path) -> bool:
    """Whether a folder is meant to hold CIFAR-10 as it is distributed; else it may hold images."""
    everything = {name for names in FILES.values() for name in names} | {INSIDE, *PICKLED}
    return any((folder / name).exists() for name in everything)


def open_cifar(folder: str | Path, split: str = "test", decoder: Decoder | None = None) -> LabelledImages:
    """Open CIFAR-10's images (N, 3, 32, 32): its binary version, or a folder of ``test/CLASS/*.png``.

    Of the decoder only the callbacks are used, for a folder of images.

    Raises:
        InputError: they cannot be read, or have another size.
    """
    root = Path(folder)
    if is_cifar(root):
        images = _open_binary(root, split)
    else:
        images = open_images(root, split, replace(decoder or Decoder(), size=None, channels=3))
    if images.images.shape[2:] != (SIDE, SIDE):
        raise InputError(
            f"the images of {root} are not of {SIDE} x {SIDE} pixels",
            "use CIFAR-10, or the data set images for others",
        )
    halves = HALVES if images.classes == CLASSES else None
    return replace(images, title=f"CIFAR-10, {split} images", halves=halves)


def _open_binary(folder: Path, split: str) -> LabelledImages:
    inside = folder / INSIDE
    source = inside if inside.is_dir() else folder
    missing = [name for name in FILES[split] if not (source / name).is_file()]
    if missing and any((folder / name).exists() for name in PICKLED):
        raise InputError(
            f"{folder} holds CIFAR-10's Python version: pickles, which could run any program when read",
            "use the binary version, cifar-10-binary.tar.gz, or images in train/CLASS and test/CLASS",
        )
    if missing:
        raise InputError(f"{source} has no {missing[0]}", "give the folder of CIFAR-10's binary version")
    records = np.concatenate([_read(source / name) for name in FILES[split]])
    images = records[:, 1:].reshape(-1, 3, SIDE, SIDE)
    return LabelledImages(images, records[:, 0].astype(np.int64), CLASSES)


def _read(path: Path) -> NDArray[np.uint8]:
    """The records (N, RECORD) of a file."""
    again = "copy or download it again"
    try:
        if path.stat().st_size > MOST * RECORD:
            raise InputError(f"{path} is larger than a file of CIFAR-10", again)
        values = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error})", again) from error
    if not values.size or values.size % RECORD:
        raise InputError(f"{path} is not of whole records of {RECORD} bytes", again)
    records = values.reshape(-1, RECORD)
    if records[:, 0].max() >= len(CLASSES):
        raise InputError(f"{path} has classes beyond {len(CLASSES)}", "use CIFAR-10, not CIFAR-100")
    return records
