"""Test pictures of CIFAR-10 and of any folders: as pairs, and to be coloured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sepcli.datasets.cifar import HALVES, SIDE, halves, is_cifar, open_cifar
from sepcli.datasets.picture_decoder import Decoder
from sepcli.datasets.picture_folder import Pictures, open_pictures
from sepcli.errors import InputError, UsageError
from sepcli.evaluation.picture_pairs import Group, PairSource
from sepcli.media.images import SUFFIXES
from sepcli.protocols import OnStep
from sepcli.training.picture_data import read_pixels

MOST = 10_000
"""Pictures of a folder, at most; chosen by lot, always the same."""
CHOSEN = ("first", "second")
"""What the sources are called where nothing tells them apart."""

Tell = Callable[[str], None]


def cifar_pictures(
    data: Path, split: str = "test", on_step: OnStep | None = None, tell: Tell | None = None
) -> Pictures:
    """CIFAR-10's pictures (N, 3, 32, 32): its binary version, or a folder of ``test/CLASS/*.png``.

    Raises:
        InputError: they cannot be read, or are not of that size.
    """
    if is_cifar(data):
        return open_cifar(data, split)
    decoder = Decoder(read_pixels, None, 3, on_step, tell)
    found = open_pictures(data, split, SUFFIXES, decoder)
    if found.images.shape[2:] != (SIDE, SIDE):
        raise InputError(
            f"the pictures of {data} are not of {SIDE} x {SIDE} pixels",
            "use CIFAR-10, or --dataset pictures for others",
        )
    return found


def cifar_source(pictures: Pictures, split: str) -> PairSource:
    """Pairs of CIFAR-10's test pictures: with the class split, an animal and a machine.

    Raises:
        InputError: the classes are not CIFAR-10's.
    """
    everyone = np.arange(len(pictures.images))
    first, second = halves(pictures) if split == "class" else (everyone, everyone)
    groups = Group(pictures.images, first), Group(pictures.images, second)
    names = HALVES if split == "class" else CHOSEN
    return PairSource("CIFAR-10, test pictures", f"class split: {split}", names, groups)


def folder_pictures(
    folder: Path,
    shape: tuple[int, int, int],
    on_step: OnStep | None = None,
    tell: Tell | None = None,
) -> Pictures:
    """Pictures of a folder, or of its test split, cut and scaled to C, H, W of a prior.

    Raises:
        InputError: there are none, or one of them cannot be read.
    """
    channels, height, width = shape
    decoder = Decoder(read_pixels, (height, width), channels, on_step, tell)
    return open_pictures(folder, "test", SUFFIXES, decoder, shuffled=True, most=MOST)


def folder_source(folders: Sequence[Path], pictures: Sequence[Pictures]) -> PairSource:
    """Pairs of pictures of two folders, one of each, or of any two of one.

    Raises:
        UsageError: there are more than two, or the second is the first.
    """
    if not 1 <= len(folders) <= 2:
        raise UsageError(f"pairs of {len(folders)} folders", "give --data once or twice")
    if len(folders) == 2 and folders[0].samefile(folders[1]):
        raise UsageError(f"{folders[0]} is given twice", "give it once for pairs of any two of its pictures")
    called = [folder.resolve().name for folder in folders]
    groups = [Group(own.images, np.arange(len(own.images))) for own in pictures]
    first, second = groups[0], groups[-1]
    names = (called[0], called[-1]) if called[0] != called[-1] else CHOSEN
    split = "one of each" if len(folders) > 1 else "any two"
    return PairSource(f"pictures of {' and '.join(called)}", split, names, (first, second))
