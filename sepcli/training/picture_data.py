"""Pictures to learn from and held-out ones: MNIST's files, or any folder of pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from sepcli.datasets.idx import open_digits
from sepcli.datasets.picture_decoder import Decoder, Pixels
from sepcli.datasets.picture_folder import (
    Pictures,
    class_names,
    find_pictures,
    open_pictures,
    split_folders,
)
from sepcli.errors import InputError, UsageError
from sepcli.media.images import SUFFIXES, read_picture
from sepcli.protocols import OnStep
from sepcli.training.denoiser import HALVES
from sepcli.training.kinds import Kind, kind_of
from sepcli.training.request import Request

HELD_OUT = 1000
"""Pictures that are kept for validation; of those to learn from, the last ones, at most a tenth."""
TAKEN = "train"
"""The split that is learnt from."""


def open_data(
    request: Request, on_step: OnStep | None = None, tell: Callable[[str], None] | None = None
) -> tuple[Pictures, Pictures]:
    """Pictures to learn from and held-out ones, of one shape; labels are of ``request.classes``.

    Raises:
        UsageError: an option or classes that are not for these data.
        InputError: the data cannot be read, or hold no pictures.
        OutputError: the cache cannot be written.
    """
    if (request.size, request.channels) != (None, None) and kind_of(request.data) is Kind.DIGITS:
        raise UsageError("--size and --channels are for folders of pictures", "leave them out for MNIST")
    size = None if request.size is None else (request.size, request.size)
    decoder = Decoder(read_pixels, size, request.channels, on_step, tell)
    return open_splits(request.data, decoder, request.classes, request.cache)


def open_like(
    data: Path,
    shape: tuple[int, int, int],
    classes: tuple[str, ...] = (),
    cache: Path | None = None,
    on_step: OnStep | None = None,
) -> tuple[Pictures, Pictures]:
    """The same for a network that takes pictures of one shape (C, H, W) only.

    Raises:
        InputError: see ``open_data``; or MNIST's pictures are of another shape.
    """
    decoder = Decoder(read_pixels, (shape[1], shape[2]), shape[0], on_step)
    learn, held_out = open_splits(data, decoder, classes, cache)
    if learn.images.shape[1:] != shape:
        raise InputError(
            f"{data} has pictures of {learn.images.shape[1:]} (channels, height, width), not of {shape}",
            "give the data that its codec was trained on",
        )
    return learn, held_out


def open_splits(
    data: Path, decoder: Decoder, classes: tuple[str, ...], cache: Path | None
) -> tuple[Pictures, Pictures]:
    """Pictures to learn from and held-out ones; those of a folder come through the decoder.

    Raises:
        UsageError: the folder has no such classes.
        InputError: the data cannot be read, or hold no pictures.
        OutputError: the cache cannot be written.
    """
    kind = kind_of(data)
    if kind is Kind.SOUND:
        raise InputError(f"{data} holds no pictures", "give a folder of pictures")
    if kind is Kind.DIGITS:
        return _divided(_digits(data, classes))
    learn = open_pictures(data, TAKEN, SUFFIXES, decoder, cache=cache, shuffled=True)
    if classes not in ((), learn.classes):
        raise UsageError(
            f"{data} has no classes {', '.join(classes)}",
            "use --classes folders, or leave --classes out",
        )
    if "validation" not in split_folders(data, SUFFIXES):
        return _divided(learn)
    channels, height, width = learn.images.shape[1:]
    alike = replace(decoder, size=(height, width), channels=channels)
    held_out = open_pictures(data, "validation", SUFFIXES, alike, cache=cache, shuffled=True)
    if classes and held_out.classes != learn.classes:
        raise InputError(
            f"the splits of {data} have other classes each",
            "leave --classes out, or mend the folders",
        )
    return learn, held_out.only(slice(HELD_OUT))


def folder_classes(data: Path) -> tuple[str, ...]:
    """The classes of a folder of pictures that are to be learnt from.

    Raises:
        InputError: there are no pictures.
        UsageError: they are not in folders of classes.
    """
    classes = class_names(*find_pictures(data, TAKEN, SUFFIXES))
    if not classes:
        raise UsageError(
            f"the pictures of {data} are not in one folder per class", "leave --classes out, or sort them"
        )
    return classes


def read_pixels(path: Path) -> Pixels:
    """A file's first picture (C, H, W); what is transparent is white.

    Raises:
        InputError: it cannot be read.
    """
    picture = read_picture(path, first=True)
    if picture.alpha is None:
        return picture.pixels
    return 1.0 - (1.0 - picture.pixels) * np.divide(picture.alpha, 255, dtype=np.float32)


def measure(pictures: Pictures, part: int = 1024) -> tuple[float, float]:
    """Mean and standard deviation of all values, in [0, 1], of a part of the pictures at a time."""
    counts = np.zeros(256, np.int64)
    for start in range(0, len(pictures.images), part):
        counts += np.bincount(pictures.images[start : start + part].reshape(-1), minlength=256)
    levels = np.arange(256) / 255
    mean = float(np.average(levels, weights=counts))
    return mean, float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))


def _digits(data: Path, classes: tuple[str, ...]) -> Pictures:
    digits = open_digits(data, TAKEN)
    labels = digits.labels.astype(np.int64)
    if classes == HALVES:
        labels //= 5
    return Pictures(digits.images[:, None], labels, classes)


def _divided(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """The last pictures are held out; a single one is both."""
    count = max(1, min(HELD_OUT, len(pictures.images) // 10))
    learn = pictures.only(slice(None, -count)) if count < len(pictures.images) else pictures
    return learn, pictures.only(slice(-count, None))
