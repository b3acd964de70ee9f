"""Songs with stems, of Slakh2100's layout or of MUSDB18, by the same words for their splits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sepcli.datasets.musdb import Subset, has_songs, is_musdb
from sepcli.datasets.musdb_bank import open_musdb
from sepcli.datasets.slakh import METADATA, is_slakh, open_slakh
from sepcli.datasets.stems import StemBank
from sepcli.errors import InputError

SUBSETS: Mapping[str, Subset] = {"train": "train", "validation": "valid", "test": "test"}
"""What MUSDB18 calls Slakh2100's splits."""


def holds_songs(data: Path) -> bool:
    """Whether a folder is of songs with stems: Slakh2100's layout, or MUSDB18."""
    return is_slakh(data) or is_musdb(data)


def open_songs(
    data: Path, split: str, sources: tuple[str, ...], sample_rate: int, cache: Path | None = None
) -> StemBank:
    """Clean recordings of the sources in a split.

    Args:
        data: The folder of a data set of either layout.
        split: ``train``, ``validation`` or ``test``; of MUSDB18 the official ones.
        sources: What is taken: classes of Slakh, stems of MUSDB18.
        sample_rate: In Hz.
        cache: A folder for decoded recordings.

    Raises:
        InputError: The folder is of neither layout, there are no songs or none of a source, or a file cannot
            be read.
        OutputError: The cache cannot be written.
    """
    if is_musdb(data):
        return open_musdb(data, SUBSETS[split], sources, sample_rate, cache)
    if data.is_dir() and not is_slakh(data):
        raise InputError(
            f"{data} holds no songs with stems",
            "give the folder of Slakh2100, with train/TrackNNNNN, or that of MUSDB18, with train/SONG",
        )
    return open_slakh(data, split, sources, sample_rate, cache)


def has_split(data: Path, split: str) -> bool:
    """Whether there are songs of a split."""
    if is_musdb(data):
        return has_songs(data, SUBSETS[split])
    return any((data / split).glob(f"*/{METADATA}"))


def held_out_split(data: Path) -> str:
    """The split to test priors on: that for tests, or else that for validation.

    Raises:
        InputError: There is neither.
    """
    for split in ("test", "validation"):
        if has_split(data, split):
            return split
    raise InputError(
        f"{data} has no songs to test on",
        "give the folder that holds test/, or else validation/, beside train/",
    )
