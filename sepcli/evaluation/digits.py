"""MNIST's test digits as a source of pairs, with dictionaries learnt from its training digits.

Class split takes one digit of 0-4 and one of 5-9; without, any two images. The dictionaries are those of
non-negative matrix factorisation: with the class split one per half, without it the same for both sources,
since nothing tells them apart.

Source: Jayaram & Thickstun 2020 (BASIS), section 5.1, 6,000 pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepcli.baselines import supervised_nmf as dictionary
from sepcli.baselines.masks import Array
from sepcli.datasets.idx import Digits, open_digits
from sepcli.errors import InputError
from sepcli.evaluation.image_pairs import NMF, Group, ImagePair, PairSource, random_pairs
from sepcli.priors.images.train_task import HALVES

ATOMS = 25
"""Per dictionary."""
LEARN_FROM = 2000
"""Training images per dictionary, at most."""


def digit_source(data: Path, split: str, seed: int) -> PairSource:
    """Pairs of MNIST's test digits.

    Args:
        data: folder of MNIST's files; without the training files there are no dictionaries.
        split: ``class`` or ``none``.
        seed: of the dictionaries.

    Raises:
        InputError: the data cannot be read.
    """
    test = open_digits(data, "test")
    dictionaries, notes = _dictionaries(data, test, split, seed)
    return PairSource(
        "MNIST, test digits",
        f"class split: {split}",
        HALVES if split == "class" else ("first", "second"),
        digit_groups(test, split),
        dictionaries,
        {NMF: _settings(dictionaries, split)},
        notes,
    )


def digit_groups(digits: Digits, split: str) -> tuple[Group, Group]:
    """What the first and the second of a pair are chosen from."""
    images = digits.images[:, None]
    first, second = _halves(digits, split)
    return Group(images, first), Group(images, second)


def digit_pairs(digits: Digits, count: int, split: str, seed: int) -> Iterator[ImagePair]:
    """Random pairs; see ``image_pairs.random_pairs``."""
    return random_pairs(digit_groups(digits, split), count, seed)


def learn_dictionaries(train: Digits, split: str, seed: int) -> list[Array]:
    """Atoms (R, H·W) for the first and for the second source of a pair.

    Args:
        train: training digits.
        split: ``class`` or ``none``.
        seed: of the choice of ``LEARN_FROM`` of them.

    Raises:
        InputError: there is none to learn from.
    """
    groups = _halves(train, split)
    if not all(map(len, groups)):
        raise InputError("a half of the digits has no training images", "Use all of MNIST's training set.")
    learnt = []
    for group in groups[: 2 if split == "class" else 1]:
        chosen = np.random.default_rng(seed).permutation(group)[:LEARN_FROM]
        examples = train.images[chosen].reshape(len(chosen), -1) / 255.0
        learnt.append(dictionary.learn(examples, ATOMS))
    return learnt if split == "class" else learnt * 2


def _halves(digits: Digits, split: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which images may be the first and which the second of a pair."""
    everyone = np.arange(len(digits.labels))
    if split == "class":
        return everyone[digits.labels < 5], everyone[digits.labels >= 5]
    return everyone, everyone


def _dictionaries(data: Path, test: Digits, split: str, seed: int) -> tuple[list[Array], tuple[str, ...]]:
    """Dictionaries; or none, and a note that says why."""
    try:
        train = open_digits(data, "train")
        if train.images.shape[1:] != test.images.shape[1:]:
            raise InputError("training and test images differ in size", "Use MNIST's files.")
        return learn_dictionaries(train, split, seed), ()
    except InputError as error:
        return [], (f"there is no row {NMF}: {error.message}",)


def _settings(dictionaries: Sequence[Array], split: str) -> dict[str, Any] | None:
    """Of the dictionaries, for the protocol."""
    if not dictionaries:
        return None
    return {
        "atoms": [len(atoms) for atoms in dictionaries],
        "iterations": dictionary.ITERATIONS,
        "images_at_most": LEARN_FROM,
        "dictionaries": "one per half" if split == "class" else "the same for both sources",
    }
