"""Images with classes, and as items of evaluations: random pairs to be mixed, images to be turned gray.

Source: Jayaram & Thickstun 2020 (BASIS), section 5.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sepcli.datasets.pair_folder import Pair
from sepcli.errors import InputError, UsageError

ANY = ("first", "second")
"""Names of the sources where nothing tells them apart."""

Images = NDArray[np.uint8]  # (N, C, H, W)
Half = tuple[str, frozenset[int]]
"""One of two sources of a class-split protocol: its name and its labels."""


@dataclass(frozen=True)
class LabelledImages:
    """Images of one shape, with their classes.

    Attributes:
        images: (N, C, H, W) uint8, in memory or memory-mapped.
        labels: (N,) int64, indices into ``classes``; all 0 if there are none.
        classes: names of the classes.
        title: what a report calls them.
        halves: the two sources of the class-split protocol; None: the data set has none.
        training: opens the training images, for baselines that learn; None: there are none.

    Raises:
        InputError: images and labels differ in number.
    """

    images: Images
    labels: NDArray[np.int64]
    classes: tuple[str, ...] = ()
    title: str = "images"
    halves: tuple[Half, Half] | None = None
    training: Callable[[], LabelledImages] | None = None

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise InputError(
                f"{len(self.images)} images with {len(self.labels)} labels", "copy the data set again"
            )

    def __len__(self) -> int:
        """The number of images, N."""
        return len(self.images)

    def only(self, chosen: slice | NDArray[np.bool_]) -> LabelledImages:
        """Return some of the images, by a slice or a mask (N,)."""
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

    def pairs(
        self, count: int, pairing: str = "any", other: LabelledImages | None = None, sources: int = 2
    ) -> ImagePairs:
        """Return random pairs of images, or more than two at once, to be mixed.

        Args:
            count: number of pairs.
            pairing: ``any`` two images, or of two classes (``class``).
            other: the images of the second source, if they are others.
            sources: number of images of an item; more than two are any images of one data set.

        Raises:
            InputError: the images have no two such classes.
            UsageError: no such pairing, or there are none of so many.
        """
        if sources != 2:
            if sources < 2 or pairing != "any" or other is not None:
                raise UsageError(f"sums of {sources} images are of any of one data set", "use 2", "sources")
            names = tuple(f"image-{n + 1}" for n in range(sources))
            groups = (Group(self.images, np.arange(len(self))),) * sources
            return ImagePairs(self.title, f"any {sources}", names, groups, count)
        if pairing not in ("any", "class"):
            raise UsageError(f"there is no pairing '{pairing}'", "use any or class", argument="pairing")
        if other is not None:
            names = (self.title, other.title) if self.title != other.title else ANY
            groups = tuple(Group(x.images, np.arange(len(x))) for x in (self, other))
            title = f"images of {self.title} and {other.title}"
            return ImagePairs(title, "one of each", names, groups, count, shared=False)
        return ImagePairs(
            self.title if self.halves or self.training else f"images of {self.title}",
            f"pairing: {pairing}",
            (self.halves[0][0], self.halves[1][0]) if self.halves and pairing == "class" else ANY,
            tuple(Group(self.images, half) for half in _halves(self, pairing)),
            count,
            pairing == "any",
            partial(_learn_from, self, pairing) if self.training else None,
        )

    def colors(self, count: int) -> ColorImages:
        """Return images to be turned gray and colorized again."""
        return ColorImages(self, count)


@dataclass(frozen=True)
class Group:
    """Images from which one of a pair is chosen.

    Attributes:
        images: where two groups share them, a pair has two different ones.
        chosen: indices of those that may be chosen.
    """

    images: Images
    chosen: NDArray[np.intp]


@dataclass(frozen=True)
class ImagePairs:
    """Random pairs of images, or K > 2 at once.

    Attributes:
        title: the data set.
        rule: how those of an item are chosen.
        names: names of the K sources.
        groups: groups of the first, the second, … of an item.
        count: number of pairs.
        shared: whether nothing tells the two sources apart.
        training: opens training images, and returns the images of either source; None: there are none.
    """

    title: str
    rule: str
    names: tuple[str, ...]
    groups: tuple[Group, ...]
    count: int
    shared: bool = True
    training: Callable[[], tuple[Images, ...]] | None = None

    @property
    def originals(self) -> Images:
        """All images of both groups' arrays."""
        first, second, *_ = (group.images for group in self.groups)  # more than two are of one group
        return first if first is second else np.concatenate([first, second])

    def items(self, seed: int) -> Iterator[Pair]:
        """Yield the pairs; see ``random_pairs``."""
        return random_pairs(self.groups, self.count, seed)


@dataclass(frozen=True)
class ColorImages:
    """Color images, chosen at random: ``limit`` of them, or all."""

    images: LabelledImages
    limit: int

    @property
    def count(self) -> int:
        """Number of images that are colorized."""
        return min(self.limit, len(self.images))

    def items(self, seed: int) -> Iterator[Pair]:
        """Yield the images as sources (1, 3, H, W)."""
        for number in np.random.default_rng(seed).permutation(len(self.images))[: self.count]:
            yield _item(f"image-{number:05d}", self.images.images[number][None])


def random_pairs(groups: tuple[Group, ...], count: int, seed: int) -> Iterator[Pair]:
    """Yield random pairs, or one of every group; item number n depends on the seed and n only.

    Raises:
        InputError: there are not as many images as groups.
    """
    first = groups[0]
    together = all(group.images is first.images for group in groups)
    different = len(np.unique(np.concatenate([group.chosen for group in groups])))
    if (together and different < len(groups)) or not all(len(group.chosen) for group in groups):
        few = "two images to pair" if len(groups) == 2 else f"{len(groups)} images to mix"
        raise InputError(f"the data set has no {few}", "use the whole test set")
    kind = "pair" if len(groups) == 2 else "sum"
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        chosen: list[int] = []
        for group in groups:
            one = int(rng.choice(group.chosen))
            while together and one in chosen:
                one = int(rng.choice(group.chosen))
            chosen.append(one)
        images = [group.images[one] for group, one in zip(groups, chosen, strict=True)]
        yield _item(f"{kind}-{number:05d}", np.stack(images))


def _item(name: str, images: Images) -> Pair:
    return Pair(name, np.asarray(images, dtype=np.float32) / np.float32(255), 0)


def _halves(images: LabelledImages, pairing: str) -> tuple[NDArray[np.intp], ...]:
    """Indices of the images that may be the first and the second of a pair."""
    if pairing == "any":
        everyone = np.arange(len(images))
        return everyone, everyone
    if images.halves is None:
        raise InputError(f"{images.title} has no two classes of a class split", "pair any two images")
    return tuple(np.flatnonzero(np.isin(images.labels, list(labels))) for _, labels in images.halves)


def _learn_from(images: LabelledImages, pairing: str) -> tuple[Images, ...]:
    """The training images of either source of ``images``."""
    opened = images.training() if images.training else images
    if opened.images.shape[1:] != images.images.shape[1:]:
        raise InputError("training and test images differ in size", "use files of one data set")
    return tuple(opened.images[half] for half in _halves(replace(opened, halves=images.halves), pairing))
