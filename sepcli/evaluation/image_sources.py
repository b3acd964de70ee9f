"""Test images of CIFAR-10 and of any folders: as pairs, and to be colorized."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sepcli.datasets.cifar import HALVES, SIDE, halves, is_cifar, open_cifar
from sepcli.datasets.image_decoder import Decoder
from sepcli.datasets.image_folder import LabelledImages, open_images
from sepcli.datasets.image_splits import read_pixels
from sepcli.errors import InputError, UsageError
from sepcli.evaluation.image_pairs import Group, PairSource
from sepcli.media import MEDIA
from sepcli.protocols import ProgressCallback

SUFFIXES = MEDIA["image"].suffixes

MOST = 10_000
"""Images of a folder, at most; chosen by lot, always the same."""
CHOSEN = ("first", "second")
"""What the sources are called where nothing tells them apart."""

Tell = Callable[[str], None]


def cifar_images(
    data: Path, split: str = "test", on_progress: ProgressCallback | None = None, tell: Tell | None = None
) -> LabelledImages:
    """CIFAR-10's images (N, 3, 32, 32): its binary version, or a folder of ``test/CLASS/*.png``.

    Raises:
        InputError: they cannot be read, or are not of that size.
    """
    if is_cifar(data):
        return open_cifar(data, split)
    decoder = Decoder(read_pixels, None, 3, on_progress, tell)
    found = open_images(data, split, SUFFIXES, decoder)
    if found.images.shape[2:] != (SIDE, SIDE):
        raise InputError(
            f"the images of {data} are not of {SIDE} x {SIDE} pixels",
            "use CIFAR-10, or --dataset images for others",
        )
    return found


def cifar_source(images: LabelledImages, split: str) -> PairSource:
    """Pairs of CIFAR-10's test images: with the class split, an animal and a machine.

    Raises:
        InputError: the classes are not CIFAR-10's.
    """
    everyone = np.arange(len(images.images))
    first, second = halves(images) if split == "class" else (everyone, everyone)
    groups = Group(images.images, first), Group(images.images, second)
    names = HALVES if split == "class" else CHOSEN
    return PairSource("CIFAR-10, test images", f"class split: {split}", names, groups)


def folder_images(
    folder: Path,
    shape: tuple[int, int, int],
    on_progress: ProgressCallback | None = None,
    tell: Tell | None = None,
) -> LabelledImages:
    """Images of a folder, or of its test split, cut and scaled to C, H, W of a prior.

    Raises:
        InputError: there are none, or one of them cannot be read.
    """
    channels, height, width = shape
    decoder = Decoder(read_pixels, (height, width), channels, on_progress, tell)
    return open_images(folder, "test", SUFFIXES, decoder, shuffled=True, most=MOST)


def folder_source(folders: Sequence[Path], images: Sequence[LabelledImages]) -> PairSource:
    """Pairs of images of two folders, one of each, or of any two of one.

    Raises:
        UsageError: there are more than two, or the second is the first.
    """
    if not 1 <= len(folders) <= 2:
        raise UsageError(f"pairs of {len(folders)} folders", "give --data once or twice")
    if len(folders) == 2 and folders[0].samefile(folders[1]):
        raise UsageError(f"{folders[0]} is given twice", "give it once for pairs of any two of its images")
    called = [folder.resolve().name for folder in folders]
    groups = [Group(own.images, np.arange(len(own.images))) for own in images]
    first, second = groups[0], groups[-1]
    names = (called[0], called[-1]) if called[0] != called[-1] else CHOSEN
    split = "one of each" if len(folders) > 1 else "any two"
    return PairSource(f"images of {' and '.join(called)}", split, names, (first, second))
