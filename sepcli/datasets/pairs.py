"""Test items as folders: one folder per source, the same file names in each.

::

    drums-bass-test/
    ├── bass/000.flac  bass/001.flac …
    └── drums/000.flac drums/001.flac …
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sepcli.datasets.recordings import read_mono
from sepcli.errors import InputError

SUFFIXES = (".flac", ".wav")


class Pair(NamedTuple):
    """The clean sources of one test item."""

    id: str
    sources: NDArray[np.float32]
    """(K, T)."""
    sample_rate: int
    """In Hz."""


def pair_names(folder: Path) -> tuple[str, ...]:
    """The sources of a folder of test items: its subfolders that hold audio, in alphabetical order.

    Raises:
        InputError: If there is none.
    """
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    names = tuple(path.name for path in subfolders if _files(path))
    if not names:
        hint = "Give a folder with one folder of .flac or .wav files per source."
        raise InputError(f"{folder} holds no test items", hint)
    return names


def pair_ids(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The items of a folder: the file names, without suffix, that all sources share, in alphabetical order.

    Raises:
        InputError: If a source is missing, or an item lacks a source.
    """
    items = [set(_files(folder / name)) for name in names]
    for name, found in zip(names, items, strict=True):
        if not found:
            raise InputError(
                f"{folder} has no {name}", f"It must hold a folder {name} of .flac or .wav files."
            )
        missing = sorted(set().union(*items) - found)
        if missing:
            hint = "Every source needs the same file names."
            raise InputError(f"{folder} has no {name} for item {missing[0]}", hint)
    return tuple(sorted(items[0])) if items else ()


def pair_files(folder: Path, names: Sequence[str], limit: int | None = None) -> Iterator[Path]:
    """The files that ``read_pairs`` reads.

    Raises:
        InputError: as ``pair_ids``.
    """
    ids = pair_ids(folder, names)[:limit]
    for name in names:
        found = _files(folder / name)
        yield from (found[item] for item in ids)


def read_pairs(folder: Path, names: Sequence[str] | None = None, limit: int | None = None) -> Iterator[Pair]:
    """Read the items one after the other.

    Args:
        folder: Holds one folder per source.
        names: K sources, in the order wanted; all of them in alphabetical order if None.
        limit: Only the first items.

    Yields:
        Items, in alphabetical order.

    Raises:
        InputError: If a file is missing or unreadable, or the sources of an item differ in length or rate.
    """
    names = pair_names(folder) if names is None else names
    for item in pair_ids(folder, names)[:limit]:
        sources, rates = zip(*(read_mono(_files(folder / name)[item]) for name in names), strict=True)
        if len({len(source) for source in sources}) > 1 or len(set(rates)) > 1:
            raise InputError(
                f"the sources of item {item} in {folder} differ in length or sample rate",
                "Cut and resample them alike.",
            )
        yield Pair(item, np.stack(sources), rates[0])


def _files(folder: Path) -> dict[str, Path]:
    """The audio files of a folder by name without suffix."""
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES}
