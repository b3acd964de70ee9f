"""Test items as folders: one folder per source, the same file names in each.

::

    drums-bass-test/
    ├── bass/000.flac  bass/001.flac …
    └── drums/000.flac drums/001.flac …
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sepcli.datasets.recordings import read_mono
from sepcli.errors import InputError

SUFFIXES = (".flac", ".wav")


class Pair(NamedTuple):
    """The clean sources of one test item."""

    id: str
    """Its name in reports."""
    sources: NDArray[np.float32]
    """(K, T) of audio; (K, C, H, W) in [0, 1] of images."""
    sample_rate: int
    """Hz; 0 for images."""


class AudioPairs(Protocol):
    """Items of audio with K true sources each."""

    def ids(self, names: Sequence[str]) -> Sequence[str]:
        """Return the items' names, in their order."""
        ...

    def items(self, names: Sequence[str], seed: int) -> Iterator[Pair]:
        """Yield the items; sources in the order of ``names``."""
        ...

    def files(self, names: Sequence[str]) -> Iterable[Path]:
        """Return the files that are read."""
        ...

    def describe(self, names: Sequence[str], seed: int) -> str:
        """Return the name of the data set and of its items."""
        ...


@dataclass(frozen=True)
class PairFolder:
    """A folder of test items.

    Attributes:
        folder: holds one folder per source.
        limit: number of items; None: all.
    """

    folder: Path
    limit: int | None = None

    def pairs(self, count: int | None = None) -> PairFolder:
        """Return the same folder with at most ``count`` items."""
        return PairFolder(self.folder, count)

    def ids(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the items' names; see ``pair_ids``."""
        return pair_ids(self.folder, names)[: self.limit]

    def items(self, names: Sequence[str], seed: int) -> Iterator[Pair]:
        """Yield the items; see ``read_pairs``."""
        return read_pairs(self.folder, names, self.limit)

    def files(self, names: Sequence[str]) -> Iterator[Path]:
        """Return the files that are read."""
        return pair_files(self.folder, names, self.limit)

    def describe(self, names: Sequence[str], seed: int) -> str:
        """Return the folder's name and the first and last item."""
        ids = self.ids(names)
        return f"{self.folder.name}: {ids[0]} … {ids[-1]}"


BUILTIN = Path(__file__).parent / "builtin"
"""Ten mixtures that come with the package."""


def builtin() -> PairFolder:
    """Return the small test set of the package: ten mixtures of drums and bass."""
    return PairFolder(BUILTIN)


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
    for name, present in zip(names, items, strict=True):
        if not present:
            raise InputError(
                f"{folder} has no {name}", f"it must hold a folder {name} of .flac or .wav files"
            )
        missing = sorted(set().union(*items) - present)
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
        files = _files(folder / name)
        yield from (files[item] for item in ids)


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
                "cut and resample them alike",
            )
        yield Pair(item, np.stack(sources), rates[0])


def _files(folder: Path) -> dict[str, Path]:
    """The audio files of a folder by name without suffix."""
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES}
