"""Data sets. ``DATASETS`` is the table of what evaluations read; this module imports neither torch nor numpy.

From Python, a function per row opens it, and ``pairs`` chooses the mixtures:

    sepcli.datasets.mnist("mnist").pairs(100)
    sepcli.datasets.musdb("musdb18hq").pairs(10)

Adding a data set takes a reader and a row. Readers share a signature:

    audio       (folder, split), as far as the row has them -> an object whose ``pairs(count)`` are the items:
                AudioPairs or SongSet
    image       (folder, split, shape, on_progress, on_message) -> LabelledImages; shape (C, H, W) is that
                of a prior, for images of any size
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sepcli.datasets.image_folder import LabelledImages
    from sepcli.datasets.pair_folder import PairFolder
    from sepcli.datasets.songs import SongSet
    from sepcli.datasets.waves import ToyPairs


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
            "sepcli.datasets.pair_folder:PairFolder",
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


def builtin() -> PairFolder:
    """Open the small test set of the package: ten mixtures of drums and bass."""
    from sepcli.datasets.pair_folder import builtin

    return builtin()


def pairs(folder: str | Path) -> PairFolder:
    """Open a folder of STEM/ITEM.flac.

    Raises:
        InputError: (later) a source is missing, or an item cannot be read.
    """
    from sepcli.datasets.pair_folder import PairFolder

    return PairFolder(Path(folder))


def mnist(folder: str | Path, split: str = "test") -> LabelledImages:
    """Open MNIST's files.

    Raises:
        InputError: a file is missing or damaged.
    """
    from sepcli.datasets.idx import open_mnist

    return open_mnist(Path(folder), split)


def cifar10(folder: str | Path, split: str = "test") -> LabelledImages:
    """Open CIFAR-10's binary version, or a folder of ``test/CLASS/*.png``.

    Raises:
        InputError: a file is missing or damaged.
    """
    from sepcli.datasets.cifar import open_cifar

    return open_cifar(Path(folder), split)


def images(
    folder: str | Path, shape: tuple[int, int, int] | None = None, split: str = "test"
) -> LabelledImages:
    """Open a folder of images, cropped and scaled to one shape (C, H, W).

    Raises:
        InputError: there are no images, or one cannot be read.
    """
    from sepcli.datasets.image_folder import open_folder

    return open_folder(Path(folder), split, shape)


def musdb(folder: str | Path, split: str = "test") -> SongSet:
    """Open the songs of MUSDB18's split ``train``, ``valid`` or ``test``.

    Raises:
        InputError: there are none.
    """
    from sepcli.datasets.musdb18 import open_musdb

    return open_musdb(Path(folder), split)


def slakh(folder: str | Path, split: str = "test") -> SongSet:
    """Open the songs of Slakh2100's split ``train``, ``valid`` or ``test``.

    Raises:
        InputError: there are none.
    """
    from sepcli.datasets.slakh2100 import open_slakh

    return open_slakh(Path(folder), split)


def toy_waves() -> ToyPairs:
    """Open the test items of toy waves."""
    from sepcli.datasets.waves import ToyPairs

    return ToyPairs()
