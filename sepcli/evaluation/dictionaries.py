"""Dictionaries of non-negative matrix factorization, learned from training images: a baseline for pairs.

With a class pairing there is one per class; without, the same for both sources, since nothing tells them
apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sepcli.baselines import supervised_nmf
from sepcli.baselines.masks import Array
from sepcli.datasets.image_pairs import ImagePairs, Images
from sepcli.errors import InputError

NMF = "nmf"
"""The row of dictionaries."""
ATOMS = 25
"""Per dictionary."""
LEARN_FROM = 2000
"""Training images per dictionary, at most."""


def dictionaries_of(pairs: ImagePairs, seed: int) -> tuple[list[Array], tuple[str, ...]]:
    """Learn the dictionaries of the two sources; none, and a note with the reason, if that is impossible."""
    if pairs.training is None:
        return [], ()
    try:
        groups = pairs.training()
        return learn_dictionaries(groups[:1] * 2 if pairs.shared else groups, seed), ()
    except InputError as error:
        return [], (f"there is no row {NMF}: {error.message}",)


def learn_dictionaries(groups: Sequence[Images], seed: int) -> list[Array]:
    """Learn atoms (R, C·H·W) from the images of every source; the same images give the same dictionary.

    Args:
        groups: training images (N, C, H, W) per source.
        seed: of the choice of ``LEARN_FROM`` of them.

    Raises:
        InputError: a source has no images.
    """
    if not all(map(len, groups)):
        raise InputError("a class has no training images", "use the whole training set")
    dictionaries: dict[int, Array] = {}
    for images in groups:
        if id(images) not in dictionaries:
            chosen = np.random.default_rng(seed).permutation(len(images))[:LEARN_FROM]
            dictionaries[id(images)] = supervised_nmf.learn(
                images[chosen].reshape(len(chosen), -1) / 255.0, ATOMS
            )
    return [dictionaries[id(images)] for images in groups]


def describe_dictionaries(dictionaries: Sequence[Array], shared: bool) -> dict[str, Any] | None:
    """Return their settings, for the protocol."""
    if not dictionaries:
        return None
    return {
        "atoms": [len(atoms) for atoms in dictionaries],
        "iterations": supervised_nmf.ITERATIONS,
        "images_at_most": LEARN_FROM,
        "dictionaries": "the same for both sources" if shared else "one per class",
    }
