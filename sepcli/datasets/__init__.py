"""Data sets. ``DATASETS`` is the table of what evaluations read; this module imports neither torch nor numpy.

From Python, the reader of a row is a function of this module, and ``pairs`` chooses the mixtures:

    sepcli.datasets.mnist("mnist").pairs(100)
    sepcli.datasets.musdb("musdb18hq").pairs(10)

Adding a data set takes a reader and a row. Readers share a signature:

    audio       (folder, split), as far as the row has them -> an object whose ``pairs(count)`` are the items:
                AudioPairs or SongSet
    image       (folder, split, decoder) -> LabelledImages; the ``Decoder`` holds the shape, for images of any
                size, and callbacks
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

__all__ = [
    "DATASETS",
    "Dataset",
    "builtin",
    "cifar10",
    "images",
    "mnist",
    "musdb",
    "pairs",
    "resolve",
    "slakh",
    "toy_waves",
]


@dataclass(frozen=True)
class Dataset:
    """A row of ``DATASETS``; functions are ``module:function``.

    Attributes:
        name: on the command line.
        medium: what it holds.
        open: the reader.
        summary: one line.
        detect: folder → whether it holds this data set; "" if it cannot be detected.
        pairing: how the two images of a pair may be chosen; () for audio, whose stems belong together.
        splits: official splits that may be chosen.
        folders: number of folders that may be given; 0: it needs none.
        items: number of items where none is given; 0: all.
        channels: C of its images; 0: any.
        means: whether items are means of sources that each have a separate prior; levels are kept then.
        metrics: what is measured if nothing is chosen; (): what the task measures.
    """

    name: str
    medium: Literal["audio", "image"]
    open: str
    summary: str
    detect: str = ""
    pairing: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    folders: int = 1
    items: int = 0
    channels: int = 0
    means: bool = False
    metrics: tuple[str, ...] = ()

    @property
    def needs_folder(self) -> bool:
        """Whether it is read from a folder."""
        return self.folders > 0

    @property
    def finished(self) -> bool:
        """Whether finished estimates can be scored against it: its references are named songs."""
        return self.medium == "audio" and self.needs_folder

    @property
    def colors(self) -> bool:
        """Whether its images can be turned gray and colorized."""
        return self.medium == "image" and self.channels != 1


DATASETS: Mapping[str, Dataset] = {
    row.name: row
    for row in (
        Dataset(
            "builtin",
            "audio",
            "sepcli.datasets.pair_folder:builtin",
            "ten mixtures of drums and bass that come with sepcli",
            folders=0,
        ),
        Dataset(
            "pairs",
            "audio",
            "sepcli.datasets.pair_folder:open_pairs",
            "a folder of STEM/ITEM.flac, mixed item by item",
        ),
        Dataset(
            "mnist",
            "image",
            "sepcli.datasets.idx:open_mnist",
            "sums of two of MNIST's test digits",
            detect="sepcli.datasets.idx:is_mnist",
            pairing=("any", "class"),
            items=6_000,
            channels=1,
        ),
        Dataset(
            "cifar10",
            "image",
            "sepcli.datasets.cifar:open_cifar",
            "sums of two of CIFAR-10's test images",
            detect="sepcli.datasets.cifar:is_cifar",
            pairing=("any", "class"),
            items=25_000,
            channels=3,
        ),
        Dataset(
            "images",
            "image",
            "sepcli.datasets.image_folder:open_folder",
            "sums of two images of one folder, or of one each of two",
            detect="sepcli.datasets.image_folder:is_images",
            pairing=("any",),
            folders=2,
            items=1_000,
        ),
        Dataset(
            "musdb",
            "audio",
            "sepcli.datasets.musdb18:open_musdb",
            "whole songs of MUSDB18, in WAV or MP4",
            detect="sepcli.datasets.musdb18:is_musdb",
            splits=("train", "valid", "test"),
        ),
        Dataset(
            "slakh",
            "audio",
            "sepcli.datasets.slakh2100:open_slakh",
            "whole songs of Slakh2100's layout",
            detect="sepcli.datasets.slakh2100:is_slakh",
            splits=("train", "valid", "test"),
        ),
        Dataset(
            "toy-waves",
            "audio",
            "sepcli.datasets.waves:ToyPairs",
            "means of one toy wave of every shape, computed",
            folders=0,
            items=100,
            means=True,
            metrics=("si-sdr", "sdr"),
        ),
    )
}
"""Name → row."""


def resolve(reference: str) -> Any:
    """Import what a row names as ``module:attribute``."""
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


if TYPE_CHECKING:
    from sepcli.datasets.cifar import open_cifar as cifar10
    from sepcli.datasets.idx import open_mnist as mnist
    from sepcli.datasets.image_folder import open_folder as images
    from sepcli.datasets.musdb18 import open_musdb as musdb
    from sepcli.datasets.pair_folder import builtin
    from sepcli.datasets.pair_folder import open_pairs as pairs
    from sepcli.datasets.slakh2100 import open_slakh as slakh
    from sepcli.datasets.waves import ToyPairs as toy_waves
else:

    def __getattr__(name: str) -> Any:
        row = DATASETS.get(name.replace("_", "-"))
        if row is None:
            raise AttributeError(f"module 'sepcli.datasets' has no attribute {name!r}")
        return resolve(row.open)
