"""Images as items of evaluations: random pairs to be mixed, and color images to be turned gray.

Source: Jayaram & Thickstun 2020 (BASIS), section 5.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sepcli.datasets.pair_folder import Pair
from sepcli.errors import InputError, UsageError

if TYPE_CHECKING:
    from sepcli.datasets.image_folder import LabelledImages

ANY = ("first", "second")
"""Names of the sources where nothing tells them apart."""

Images = NDArray[np.uint8]  # (N, C, H, W)


@dataclass(frozen=True)
class Group:
    """Images from which one of a pair is chosen.

    Attributes:
        images: (N, C, H, W) uint8; where two groups share them, a pair has two different ones.
        chosen: indices of those that may be chosen.
    """

    images: Images
    chosen: NDArray[np.intp]


@dataclass(frozen=True)
class ImagePairs:
    """Random pairs of images.

    Attributes:
        title: the data set.
        rule: how the two of a pair are chosen.
        names: names of the two sources.
        groups: groups of the first and of the second of a pair.
        count: number of pairs.
        shared: whether nothing tells the two sources apart.
        training: opens training images, and returns the images of either source; None: there are none.
    """

    title: str
    rule: str
    names: tuple[str, str]
    groups: tuple[Group, Group]
    count: int
    shared: bool = True
    training: Callable[[], tuple[Images, Images]] | None = None

    @property
    def originals(self) -> Images:
        """All images of both groups' arrays."""
        first, second = (group.images for group in self.groups)
        return first if first is second else np.concatenate([first, second])

    def items(self, seed: int) -> Iterator[Pair]:
        """Yield the pairs; see ``random_pairs``."""
        return random_pairs(self.groups, self.count, seed)


@dataclass(frozen=True)
class ColorImages:
    """Color images, chosen at random.

    Attributes:
        images: all of them.
        limit: number of images to be colorized, at most all.
    """

    images: LabelledImages
    limit: int

    @property
    def count(self) -> int:
        """Number of images that are colorized."""
        return min(self.limit, len(self.images))

    def items(self, seed: int) -> Iterator[Pair]:
        """Yield the images as sources (1, 3, H, W)."""
        for number in np.random.default_rng(seed).permutation(len(self.images))[: self.count]:
            yield Pair(f"image-{number:05d}", as_floats(self.images.images[number][None]), 0)


def pairs_of(
    images: LabelledImages, count: int, pairing: str = "any", other: LabelledImages | None = None
) -> ImagePairs:
    """Choose pairs of images.

    Args:
        images: the images of the first source.
        count: number of pairs.
        pairing: ``any`` two images, or of two classes (``class``).
        other: the images of the second source, if they are others.

    Raises:
        InputError: the images have no two such classes.
        UsageError: no such pairing.
    """
    if pairing not in ("any", "class"):
        raise UsageError(f"there is no pairing '{pairing}'", "use any or class", argument="pairing")
    if other is not None:
        names = (images.title, other.title) if images.title != other.title else ANY
        groups = _everyone(images), _everyone(other)
        return ImagePairs(
            f"images of {images.title} and {other.title}", "one of each", names, groups, count, False
        )
    halves = _halves(images, pairing)
    groups = Group(images.images, halves[0]), Group(images.images, halves[1])
    names = (images.halves[0][0], images.halves[1][0]) if images.halves and pairing == "class" else ANY
    training = images.training

    def learn_from() -> tuple[Images, Images]:
        opened = training() if training is not None else images
        if opened.images.shape[1:] != images.images.shape[1:]:
            raise InputError("training and test images differ in size", "use files of one data set")
        first, second = _halves(replace(opened, halves=images.halves), pairing)
        return opened.images[first], opened.images[second]

    return ImagePairs(
        images.title if images.halves or images.training else f"images of {images.title}",
        f"pairing: {pairing}",
        names,
        groups,
        count,
        pairing == "any",
        learn_from if training is not None else None,
    )


def random_pairs(groups: tuple[Group, Group], count: int, seed: int) -> Iterator[Pair]:
    """Yield random pairs; pair number n depends on the seed and n only.

    Raises:
        InputError: there are no two images to pair.
    """
    first, second = groups
    together = first.images is second.images
    few = together and len(np.union1d(first.chosen, second.chosen)) < 2
    if few or not (len(first.chosen) and len(second.chosen)):
        raise InputError("the data set has no two images to pair", "use the whole test set")
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        one = rng.choice(first.chosen)
        other = rng.choice(second.chosen)
        while together and other == one:
            other = rng.choice(second.chosen)
        pair = np.stack([first.images[one], second.images[other]])
        yield Pair(f"pair-{number:05d}", as_floats(pair), 0)


def as_floats(images: Images) -> NDArray[np.float32]:
    """Convert bytes to float32 in [0, 1]."""
    return np.asarray(images, dtype=np.float32) / np.float32(255)


def _everyone(images: LabelledImages) -> Group:
    return Group(images.images, np.arange(len(images)))


def _halves(images: LabelledImages, pairing: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the images that may be the first and the second of a pair."""
    if pairing == "any":
        everyone = np.arange(len(images))
        return everyone, everyone
    if images.halves is None:
        raise InputError(f"{images.title} has no two classes of a class split", "pair any two images")
    first, second = (np.flatnonzero(np.isin(images.labels, list(labels))) for _, labels in images.halves)
    return first, second
