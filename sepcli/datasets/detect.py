"""Detection of what a folder of training data holds: MNIST's files, recordings, images, or toy waves."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from sepcli.datasets.audio_folder import audio_files
from sepcli.datasets.image_folder import image_files
from sepcli.datasets.song_banks import holds_songs
from sepcli.errors import InputError


class Kind(Enum):
    """Kinds of data."""

    DIGITS = "MNIST's files"
    AUDIO = "recordings"
    IMAGES = "images"
    TOY = "toy waves"


TOY_WAVES = "toy-waves"
"""The name of toy waves, instead of a folder."""


def kind_of(data: Path) -> Kind:
    """Return what a folder holds; songs with stems are recordings.

    The name ``TOY_WAVES`` means toy waves unless there is a folder of that name.

    Raises:
        InputError: there is no such folder, or it holds neither recordings nor images, or both.
    """
    if str(data) == TOY_WAVES and not data.exists():
        return Kind.TOY
    if _holds_digits(data):
        return Kind.DIGITS
    if not data.is_dir():
        raise InputError(f"there is no folder {data}", "give a folder of recordings or of images")
    recordings, images = bool(audio_files(data)) or holds_songs(data), bool(image_files(data))
    if recordings and images:
        raise InputError(f"{data} holds both recordings and images", "move one of them into another folder")
    if not (recordings or images):
        raise InputError(
            f"{data} holds neither recordings nor MNIST's files nor images",
            "give a folder of audio files or of images, Slakh2100, MUSDB18, or that of MNIST's four files",
        )
    return Kind.AUDIO if recordings else Kind.IMAGES


def holds_images(data: Path) -> bool:
    """Whether a folder holds images and no songs or recordings."""
    if not data.is_dir() or holds_songs(data):
        return False
    return _holds_digits(data) or (bool(image_files(data)) and not audio_files(data))


def _holds_digits(data: Path) -> bool:
    return any(path.is_file() for path in data.glob("train-images*"))
