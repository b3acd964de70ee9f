"""Any folder of images as one array of bytes.

::

    photos/train/CLASS/*.jpg, photos/test/CLASS/*.jpg      splits and classes
    photos/CLASS/*.jpg                                     classes
    photos/*.jpg                                           neither

Images are decoded once; the cache is one file of NumPy's format, of which only the images in use come into
memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sepcli.atomic import write_many
from sepcli.datasets.cache import fingerprint
from sepcli.datasets.image_decoder import Decoder, read_pixels
from sepcli.errors import InputError, OutputError
from sepcli.media import MEDIA
from sepcli.protocols import ProgressCallback

if TYPE_CHECKING:
    from sepcli.datasets.image_pairs import ColorImages, ImagePairs

SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
"""Split → what its folder may be called."""
CACHE_VERSION = 1


Half = tuple[str, frozenset[int]]
"""One of two sources of a class-split protocol: its name and its labels."""


MOST = 10_000
"""Images of a folder, at most; chosen at random (fixed seed)."""


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

    images: NDArray[np.uint8]
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

    def pairs(self, count: int, pairing: str = "any", other: LabelledImages | None = None) -> ImagePairs:
        """Return random pairs of images, to be mixed; see ``sepcli.datasets.image_pairs.pairs_of``."""
        from sepcli.datasets.image_pairs import pairs_of

        return pairs_of(self, count, pairing, other)

    def colors(self, count: int) -> ColorImages:
        """Return images to be turned gray and colorized again; see ``sepcli.datasets.image_pairs``."""
        from sepcli.datasets.image_pairs import ColorImages

        return ColorImages(self, count)


def open_folder(
    folder: Path,
    split: str = "test",
    shape: tuple[int, int, int] | None = None,
    on_progress: ProgressCallback | None = None,
    on_message: Callable[[str], None] | None = None,
) -> LabelledImages:
    """Open the images of a folder, or of its split, cropped and scaled.

    Args:
        folder: holds image files.
        split: used only if the folder is divided into splits.
        shape: C, H, W, those of a prior; None: see ``Decoder``.
        on_progress: called with (files read, all files).
        on_message: called with notes on sizes.

    Raises:
        InputError: there are none, or one of them cannot be read.
    """
    size = None if shape is None else (shape[1], shape[2])
    decoder = Decoder(read_pixels, size, None if shape is None else shape[0], on_progress, on_message)
    opened = open_images(folder, split, MEDIA["image"].suffixes, decoder, shuffled=True, most=MOST)
    return LabelledImages(opened.images, opened.labels, opened.classes, title=folder.resolve().name)


def is_images(folder: Path) -> bool:
    """Whether a folder holds image files."""
    return bool(image_files(folder, MEDIA["image"].suffixes))


def image_files(root: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files in a folder and its folders whose names end like images, sorted; hidden ones left out."""
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = [name for name in names if not name.startswith(".")]
        files += [Path(folder) / name for name in shown if name.lower().endswith(tuple(suffixes))]
    return sorted(files)


def split_folders(root: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The splits of a folder, and their folders; none if it is not divided.

    A class may be called *train*, too: folders of that name are splits if there are two or more, or no others
    beside them.
    """
    splits = {name: split for split, names in SPLITS.items() for name in names}
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    folders = [path for path in folders if image_files(path, suffixes)]
    named = {splits[path.name.lower()]: path for path in folders if path.name.lower() in splits}
    return named if len(named) > 1 or len(named) == len(folders) else {}


def find_images(root: Path, split: str, suffixes: Sequence[str]) -> tuple[Path, list[Path]]:
    """The folder of a split and its files; of a folder that is not divided, itself and all files.

    Raises:
        InputError: there are none.
    """
    if not root.is_dir():
        raise InputError(f"there is no folder {root}", "give a folder of images")
    divided = split_folders(root, suffixes)
    if divided and split not in divided:
        raise InputError(
            f"{root} has no split {split} but {', '.join(sorted(divided))}",
            f"call one of its folders {SPLITS[split][0]}, or give the one that is meant",
        )
    folder = divided.get(split, root)
    files = image_files(folder, suffixes)
    if not files:
        raise InputError(
            f"{root} holds no images", f"give a folder of files like *{', *'.join(suffixes[:3])}"
        )
    return folder, files


def class_names(folder: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """The folders that the images of a split are in, sorted; none if it is one, or an image is in none."""
    parts = [path.relative_to(folder).parts for path in files]
    names = {part[0] for part in parts}
    return tuple(sorted(names)) if len(names) > 1 and all(len(part) > 1 for part in parts) else ()


def open_images(
    root: Path,
    split: str,
    suffixes: Sequence[str],
    decoder: Decoder,
    *,
    cache: Path | None = None,
    shuffled: bool = False,
    most: int | None = None,
) -> LabelledImages:
    """Open a folder of images.

    Args:
        root: the folder; its folders are looked into, to any depth.
        split: a key of ``SPLITS``; not looked at if the folder is not divided.
        suffixes: how names of image files end, in lower case.
        decoder: of the files.
        cache: a folder for the decoded images. The next call maps them into memory at once, unless a file
            has changed. Without it all is decoded into memory.
        shuffled: in a random order (fixed seed), so that any part is a fair sample; else sorted.
        most: only the first so many; None: all.

    Raises:
        InputError: there are no images, or one of them cannot be read.
        OutputError: the cache cannot be written.
    """
    folder, files = find_images(root, split, suffixes)
    if shuffled:
        files = [files[n] for n in np.random.default_rng(0).permutation(len(files))]
    classes, files = class_names(folder, files), files[:most]
    numbers = {name: number for number, name in enumerate(classes)}
    labels = [numbers.get(path.relative_to(folder).parts[0], 0) for path in files]
    return LabelledImages(_decoded(files, decoder, cache), np.array(labels, dtype=np.int64), classes)


def _decoded(files: Sequence[Path], decoder: Decoder, cache: Path | None) -> NDArray[np.uint8]:
    if cache is None:
        shape = decoder.shape(files)
        images = np.empty((len(files), *shape), np.uint8)
        for number, row in enumerate(decoder.rows(files, shape)):
            images[number] = row
        return images
    try:
        key = fingerprint(files, CACHE_VERSION, decoder.size, decoder.channels)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read ({error.strerror})", "take it away") from error
    path = cache / f"images-{key}.npy"
    if not path.is_file():
        _fill(path, files, decoder)
    try:
        mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path) from error
    if mapped.dtype != np.uint8 or mapped.ndim != 4 or len(mapped) != len(files):
        raise _damaged(path)
    return mapped


def _fill(path: Path, files: Sequence[Path], decoder: Decoder) -> None:
    """Decode into a file, which gets its name when it is complete."""
    decoder.say(f"reading {len(files)} images, once, into {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_many() as part_of, part_of(path).open("xb") as file:
            shape = decoder.shape(files)
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), *shape)}
            np.lib.format.write_array_header_1_0(file, header)
            for row in decoder.rows(files, shape):
                file.write(row.tobytes())
    except OSError as error:
        raise OutputError(
            f"the cache {path} cannot be written ({error.strerror})",
            "choose another cache folder, with enough space",
        ) from error


def _damaged(path: Path) -> InputError:
    return InputError(f"the cache {path} is damaged", "delete that file and start again")
