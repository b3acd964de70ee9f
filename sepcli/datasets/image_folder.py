"""Any folder of images as one array of bytes.

::

    photos/train/CLASS/*.jpg, photos/test/CLASS/*.jpg      splits and classes
    photos/CLASS/*.jpg                                     classes
    photos/*.jpg                                           neither

Images are decoded once; the cache is one file of NumPy's format, of which only the images in use come into
memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sepcli.atomic import remove_leftovers, write_many
from sepcli.datasets.cache import fingerprint
from sepcli.datasets.image_decoder import Decoder
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.errors import InputError, OutputError
from sepcli.media import MEDIA
from sepcli.media.folders import data_entries, find_files, passed_over

SUFFIXES = MEDIA["image"].suffixes
SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
"""Split → what its folder may be called."""
CACHE_VERSION = 1
MOST = 10_000
"""Images of a folder that an evaluation opens, at most; chosen at random (fixed seed)."""


def open_folder(folder: str | Path, split: str = "test", decoder: Decoder | None = None) -> LabelledImages:
    """Open the images of a folder, or of its split if it is divided, cropped and scaled by the decoder.

    Raises:
        InputError: there are none, or one of them cannot be read.
    """
    root = Path(folder)
    opened = open_images(root, split, decoder or Decoder(), shuffled=True, most=MOST)
    return LabelledImages(opened.images, opened.labels, opened.classes, title=root.resolve().name)


def image_files(root: Path) -> list[Path]:
    """The files in a folder and its folders whose names end like images, sorted."""
    return sorted(find_files(root, SUFFIXES)[0])


def is_images(folder: Path) -> bool:
    """Whether a folder holds image files."""
    return bool(image_files(folder))


def split_folders(root: Path) -> dict[str, Path]:
    """The splits of a folder, and their folders; none if it is not divided.

    A class may be called *train*, too: folders of that name are splits if there are two or more, or no others
    beside them.
    """
    splits = {name: split for split, names in SPLITS.items() for name in names}
    folders = [path for path in data_entries(root) if path.is_dir() and image_files(path)]
    named = {splits[path.name.lower()]: path for path in folders if path.name.lower() in splits}
    return named if len(named) > 1 or len(named) == len(folders) else {}


def find_images(root: Path, split: str) -> tuple[Path, list[Path]]:
    """The folder of a split and its files; of a folder that is not divided, itself and all files.

    Raises:
        InputError: there are none.
    """
    if not root.is_dir():
        raise InputError(f"there is no folder {root}", "give a folder of images")
    divided = split_folders(root)
    if divided and split not in divided:
        raise InputError(
            f"{root} has no split {split} but {', '.join(sorted(divided))}",
            f"call one of its folders {SPLITS[split][0]}, or give the one that is meant",
        )
    folder = divided.get(split, root)
    files = image_files(folder)
    if not files:
        raise InputError(
            f"{root} holds no images", f"give a folder of files like *{', *'.join(SUFFIXES[:3])}"
        )
    return folder, files


def image_notes(root: Path, split: str) -> tuple[str, ...]:
    """A line on what a folder holds beside the images of a split and the other splits."""
    folder, read = find_images(root, split)
    others = [path for path in split_folders(root).values() if path != folder]
    entries = (path for paths in find_files(root, SUFFIXES) for path in paths)
    left = [path for path in entries if not any(path.is_relative_to(other) for other in others)]
    return passed_over(root, sorted({*left} - {*read}))


def class_names(folder: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """The folders that the images of a split are in, sorted; none if it is one, or an image is in none."""
    parts = [path.relative_to(folder).parts for path in files]
    names = {part[0] for part in parts}
    return tuple(sorted(names)) if len(names) > 1 and all(len(part) > 1 for part in parts) else ()


def open_images(
    root: Path,
    split: str,
    decoder: Decoder,
    *,
    cache: Path | None = None,
    shuffled: bool = False,
    most: int | None = None,
) -> LabelledImages:
    """Open the images of a folder and its folders.

    Args:
        root: the folder.
        split: a key of ``SPLITS``; ignored if the folder is not divided.
        decoder: of the files.
        cache: a folder for the decoded images, which are read again if a file has changed; None: memory.
        shuffled: in a random order (fixed seed), so that any part is a fair sample; else sorted.
        most: only the first so many; None: all.

    Raises:
        InputError: there are no images, or one of them cannot be read.
        OutputError: the cache cannot be written.
    """
    folder, files = find_images(root, split)
    for note in image_notes(root, split):
        decoder.say(note)
    if shuffled:
        files = [files[n] for n in np.random.default_rng(0).permutation(len(files))]
    classes, files = class_names(folder, files), files[:most]
    numbers = {name: number for number, name in enumerate(classes)}
    labels = [numbers.get(path.relative_to(folder).parts[0], 0) for path in files]
    images = _decoded(files, decoder) if cache is None else _cached(files, decoder, cache)
    return LabelledImages(images, np.array(labels, dtype=np.int64), classes)


def _decoded(files: Sequence[Path], decoder: Decoder) -> NDArray[np.uint8]:
    shape = decoder.shape(files)
    images = np.empty((len(files), *shape), np.uint8)
    for number, row in enumerate(decoder.rows(files, shape)):
        images[number] = row
    return images


def _cached(files: Sequence[Path], decoder: Decoder, cache: Path) -> NDArray[np.uint8]:
    """Images mapped into memory from a file in ``cache``, which is filled unless it exists."""
    try:
        key = fingerprint(files, CACHE_VERSION, decoder.size, decoder.channels)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read ({error.strerror})", "take it away") from error
    path = cache / f"images-{key}.npy"
    if not path.is_file():
        _fill(path, files, decoder)
    try:
        mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
        if mapped.dtype != np.uint8 or mapped.ndim != 4 or len(mapped) != len(files):
            raise ValueError("it holds other images")
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"the cache {path} is damaged", "delete that file and start again") from error
    return mapped


def _fill(path: Path, files: Sequence[Path], decoder: Decoder) -> None:
    """Decode into a file, which gets its name when it is complete."""
    decoder.say(f"reading {len(files)} images, once, into {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
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
