"""Training images and held-out ones: MNIST's files, or any folder of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.datasets.detect import Kind, kind_of
from sepcli.datasets.idx import HALVES, open_digits
from sepcli.datasets.image_decoder import Decoder
from sepcli.datasets.image_folder import class_names, find_images, open_images, split_folders
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.errors import InputError, UsageError
from sepcli.protocols import ProgressCallback

HELD_OUT = 1000
"""Most images for validation: the last ones, at most a tenth of all."""
TRAIN = "train"
"""The split for training."""
DIGIT_CLASSES: Mapping[str, tuple[str, ...]] = {
    "halves": tuple(name for name, _ in HALVES),
    "digits": tuple("0123456789"),
}
"""Ways to divide MNIST into classes, and their names."""


def open_data(
    data: Path,
    classes: tuple[str, ...] = (),
    *,
    size: int | None = None,
    channels: int | None = None,
    cache: Path | None = None,
    held_out: int = HELD_OUT,
    on_progress: ProgressCallback | None = None,
    on_message: Callable[[str], None] | None = None,
) -> tuple[LabelledImages, LabelledImages]:
    """Open training images and held-out ones, of one shape.

    Args:
        data: MNIST's files, or a folder of images.
        classes: their names; labels are indices of them.
        size: side to which the images of a folder are resized; None: their common size, or 64.
        channels: 1 or 3; None: 3 if an image of a folder has colors.
        cache: a folder for decoded images.
        held_out: the most images that are held out.
        on_progress: called with (images read, all images).
        on_message: called with notes on the images.

    Raises:
        UsageError: options or classes that are not for these data.
        InputError: the data cannot be read, or hold no images.
        OutputError: the cache cannot be written.
    """
    given = {"size": size, "channels": channels}
    if (wrong := [key for key, value in given.items() if value is not None]) and kind_of(data) is Kind.DIGITS:
        raise UsageError(
            f"{wrong[0]} is for folders of images, not for MNIST", "omit it", argument=f"settings.{wrong[0]}"
        )
    sides = None if size is None else (size, size)
    decoder = Decoder(size=sides, channels=channels, on_progress=on_progress, on_message=on_message)
    return _open_splits(data, decoder, classes, cache, held_out)


def open_like(
    data: Path,
    shape: tuple[int, int, int],
    classes: tuple[str, ...] = (),
    cache: Path | None = None,
    on_progress: ProgressCallback | None = None,
) -> tuple[LabelledImages, LabelledImages]:
    """Open the same for a network of images of one shape (C, H, W).

    Raises:
        InputError: see ``open_data``; or MNIST's images are of another shape.
    """
    decoder = Decoder(size=shape[1:], channels=shape[0], on_progress=on_progress)
    train, held_out = _open_splits(data, decoder, classes, cache, HELD_OUT)
    if train.images.shape[1:] != shape:
        raise InputError(
            f"{data} has images of {train.images.shape[1:]} (channels, height, width), not of {shape}",
            "give the data that its codec was trained on",
        )
    return train, held_out


def _open_splits(
    data: Path, decoder: Decoder, classes: tuple[str, ...], cache: Path | None, most: int
) -> tuple[LabelledImages, LabelledImages]:
    """Open training images and at most ``most`` held-out ones; those of a folder come through the decoder."""
    kind = kind_of(data)
    if kind is Kind.AUDIO:
        raise InputError(f"{data} holds no images", "give a folder of images")
    if kind is Kind.DIGITS:
        digits = open_digits(data, TRAIN)
        labels = digits.labels // 5 if classes == DIGIT_CLASSES["halves"] else digits.labels
        return _divided(LabelledImages(digits.images, labels, classes), most)
    train = open_images(data, TRAIN, decoder, cache=cache, shuffled=True)
    if classes not in ((), train.classes):
        raise UsageError(
            f"{data} has no classes {', '.join(classes)}",
            "use the classes of its folders, or none",
            argument="settings.classes",
        )
    if "validation" not in split_folders(data):
        return _divided(train, most)
    channels, height, width = train.images.shape[1:]
    alike = replace(decoder, size=(height, width), channels=channels)
    held_out = open_images(data, "validation", alike, cache=cache, shuffled=True)
    if classes and held_out.classes != train.classes:
        raise InputError(
            f"the splits of {data} have different classes", "train without classes, or correct the folders"
        )
    return train, held_out.only(slice(most))


def _divided(images: LabelledImages, most: int) -> tuple[LabelledImages, LabelledImages]:
    """Hold out the last images; a single one is in both parts."""
    count = max(1, min(most, len(images) // 10))
    train = images.only(slice(None, -count)) if count < len(images) else images
    return train, images.only(slice(-count, None))


def named_classes(data: Path, classes: str) -> tuple[str, ...]:
    """Return the names of the classes ``none``, ``folders``, or a key of ``DIGIT_CLASSES``, of a data set.

    Raises:
        UsageError: the classes are not of these data.
        InputError: there are no images.
    """
    if classes == "none":
        return ()
    if (classes == "folders") != (kind_of(data) is Kind.IMAGES):
        meant = "folders of images" if classes == "folders" else "MNIST's files"
        raise UsageError(
            f"classes={classes} is for {meant}, not for {data}",
            "choose other classes, or none",
            argument="settings.classes",
        )
    return folder_classes(data) if classes == "folders" else DIGIT_CLASSES[classes]


def folder_classes(data: Path) -> tuple[str, ...]:
    """Return the classes of the training images in a folder.

    Raises:
        InputError: there are no images.
        UsageError: they are not in folders of classes.
    """
    classes = class_names(*find_images(data, TRAIN))
    if not classes:
        raise UsageError(
            f"the images of {data} are not in one folder per class",
            "sort them into folders, or train without classes",
            argument="settings.classes",
        )
    return classes


def to_float_images(images: NDArray[np.uint8]) -> Tensor:
    """Convert bytes (N, C, H, W), or gray ones (N, H, W), to images (N, C, H, W), float32 in [0, 1]."""
    rows = images[:, None] if images.ndim == 3 else images
    return torch.from_numpy(np.array(rows)).float() / 255.0  # a copy: torch wants memory it may write to


def has_mirrored(images: LabelledImages, flip: bool | None) -> bool:
    """Whether to train on mirror images as well: ``flip``, or if None, if the images have colors."""
    return images.images.shape[1] == 3 if flip is None else flip


def measure(images: LabelledImages, part: int = 1024) -> tuple[float, float]:
    """Return mean and standard deviation of all values, in [0, 1], reading ``part`` images at a time."""
    counts = np.zeros(256, np.int64)
    for start in range(0, len(images.images), part):
        counts += np.bincount(images.images[start : start + part].reshape(-1), minlength=256)
    levels = np.arange(256) / 255
    mean = float(np.average(levels, weights=counts))
    return mean, float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))
