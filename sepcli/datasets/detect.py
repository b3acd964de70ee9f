"""Detection of what a folder of training data holds: MNIST's files, recordings, images, or toy waves."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from sepcli.datasets.audio_folder import audio_files
from sepcli.datasets.image_folder import image_files
from sepcli.datasets.song_banks import holds_songs, song_notes
from sepcli.errors import InputError
from sepcli.media import MEDIA
from sepcli.media.folders import find_files, passed_over


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
    kinds = _kinds(data)
    if not (kinds or data.is_dir()):
        raise InputError(f"there is no folder {data}", "give a folder of recordings or of images")
    if len(kinds) > 1:
        raise InputError(f"{data} holds both recordings and images", "move one of them into another folder")
    if not kinds:
        raise InputError(
            f"{data} holds neither recordings nor MNIST's files nor images",
            "give a folder of audio files or of images, Slakh2100, MUSDB18, or that of MNIST's four files",
        )
    return kinds[0]


def holds_images(data: Path) -> bool:
    """Whether a folder holds images and no songs or recordings."""
    return _kinds(data) in ([Kind.DIGITS], [Kind.IMAGES])


def holds_recordings(data: Path) -> bool:
    """Whether a folder holds recordings that are not songs with stems."""
    return not holds_songs(data) and bool(audio_files(data))


def audio_notes(data: Path) -> tuple[str, ...]:
    """Return sentences on what of a folder of recordings or songs is left out of training."""
    if holds_songs(data):
        return song_notes(data)
    return passed_over(data, find_files(data, MEDIA["audio"].suffixes)[1])


def _kinds(data: Path) -> list[Kind]:
    if any(path.is_file() for path in data.glob("train-images*")):
        return [Kind.DIGITS]
    audio = [Kind.AUDIO] if audio_files(data) or holds_songs(data) else []
    return audio + ([Kind.IMAGES] if image_files(data) else [])
