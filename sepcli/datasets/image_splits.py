"""Images to learn from and held-out ones: MNIST's files, or any folder of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from sepcli.datasets.detect import Kind, kind_of
from sepcli.datasets.idx import open_digits
from sepcli.datasets.image_decoder import Decoder, read_pixels
from sepcli.datasets.image_folder import (
    LabelledImages,
    class_names,
    find_images,
    open_images,
    split_folders,
)
from sepcli.errors import InputError, UsageError
from sepcli.media import MEDIA
from sepcli.priors.images.train_task import HALVES
from sepcli.protocols import ProgressCallback
from sepcli.training.config import Request

SUFFIXES = MEDIA["image"].suffixes

HELD_OUT = 1000
"""Images that are kept for validation; of those to learn from, the last ones, at most a tenth."""
TAKEN = "train"
"""The split that is learnt from."""


def open_data(
    request: Request, on_progress: ProgressCallback | None = None, tell: Callable[[str], None] | None = None
) -> tuple[LabelledImages, LabelledImages]:
    """Images to learn from and held-out ones, of one shape; labels are of ``request.classes``.

    Raises:
        UsageError: an option or classes that are not for these data.
        InputError: the data cannot be read, or hold no images.
        OutputError: the cache cannot be written.
    """
    if (request.size, request.channels) != (None, None) and kind_of(request.data) is Kind.DIGITS:
        raise UsageError("--size and --channels are for folders of images", "leave them out for MNIST")
    size = None if request.size is None else (request.size, request.size)
    decoder = Decoder(read_pixels, size, request.channels, on_progress, tell)
    return open_splits(request.data, decoder, request.classes, request.cache)


def open_like(
    data: Path,
    shape: tuple[int, int, int],
    classes: tuple[str, ...] = (),
    cache: Path | None = None,
    on_progress: ProgressCallback | None = None,
) -> tuple[LabelledImages, LabelledImages]:
    """The same for a network that takes images of one shape (C, H, W) only.

    Raises:
        InputError: see ``open_data``; or MNIST's images are of another shape.
    """
    decoder = Decoder(read_pixels, (shape[1], shape[2]), shape[0], on_progress)
    learn, held_out = open_splits(data, decoder, classes, cache)
    if learn.images.shape[1:] != shape:
        raise InputError(
            f"{data} has images of {learn.images.shape[1:]} (channels, height, width), not of {shape}",
            "give the data that its codec was trained on",
        )
    return learn, held_out


def open_splits(
    data: Path, decoder: Decoder, classes: tuple[str, ...], cache: Path | None
) -> tuple[LabelledImages, LabelledImages]:
    """Images to learn from and held-out ones; those of a folder come through the decoder.

    Raises:
        UsageError: the folder has no such classes.
        InputError: the data cannot be read, or hold no images.
        OutputError: the cache cannot be written.
    """
    kind = kind_of(data)
    if kind is Kind.SOUND:
        raise InputError(f"{data} holds no images", "give a folder of images")
    if kind is Kind.DIGITS:
        return _divided(_digits(data, classes))
    learn = open_images(data, TAKEN, SUFFIXES, decoder, cache=cache, shuffled=True)
    if classes not in ((), learn.classes):
        raise UsageError(
            f"{data} has no classes {', '.join(classes)}",
            "use --classes folders, or leave --classes out",
        )
    if "validation" not in split_folders(data, SUFFIXES):
        return _divided(learn)
    channels, height, width = learn.images.shape[1:]
    alike = replace(decoder, size=(height, width), channels=channels)
    held_out = open_images(data, "validation", SUFFIXES, alike, cache=cache, shuffled=True)
    if classes and held_out.classes != learn.classes:
        raise InputError(
            f"the splits of {data} have other classes each",
            "leave --classes out, or mend the folders",
        )
    return learn, held_out.only(slice(HELD_OUT))


def folder_classes(data: Path) -> tuple[str, ...]:
    """The classes of a folder of images that are to be learnt from.

    Raises:
        InputError: there are no images.
        UsageError: they are not in folders of classes.
    """
    classes = class_names(*find_images(data, TAKEN, SUFFIXES))
    if not classes:
        raise UsageError(
            f"the images of {data} are not in one folder per class", "leave --classes out, or sort them"
        )
    return classes


def measure(images: LabelledImages, part: int = 1024) -> tuple[float, float]:
    """Mean and standard deviation of all values, in [0, 1], of a part of the images at a time."""
    counts = np.zeros(256, np.int64)
    for start in range(0, len(images.images), part):
        counts += np.bincount(images.images[start : start + part].reshape(-1), minlength=256)
    levels = np.arange(256) / 255
    mean = float(np.average(levels, weights=counts))
    return mean, float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))


def _digits(data: Path, classes: tuple[str, ...]) -> LabelledImages:
    digits = open_digits(data, TAKEN)
    labels = digits.labels // 5 if classes == HALVES else digits.labels
    return LabelledImages(digits.images, labels, classes)


def _divided(images: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    """The last images are held out; a single one is both."""
    count = max(1, min(HELD_OUT, len(images.images) // 10))
    learn = images.only(slice(None, -count)) if count < len(images.images) else images
    return learn, images.only(slice(-count, None))
