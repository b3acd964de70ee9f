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
from sepcli.media import MEDIA
from sepcli.media.folders import data_entries, find_files, passed_over

SUFFIXES = MEDIA["audio"].suffixes


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

    def items(self, names: Sequence[str], seed: int) -> Iterator[Pair]:
        """Yield the items; sources in the order of ``names``."""

    def files(self, names: Sequence[str]) -> Iterable[Path]:
        """Return the files that are read."""

    def describe(self, names: Sequence[str], seed: int) -> str:
        """Return the name of the data set and of its items."""

    def notes(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return sentences on what is passed over."""


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
        """Return the file names, without suffix, that all sources share, in alphabetical order.

        Raises:
            InputError: a source is missing, or an item lacks a source.
        """
        items = [set(_files(self.folder / name)) for name in names]
        for name, present in zip(names, items, strict=True):
            if not present:
                raise InputError(
                    f"{self.folder} has no {name}", f"it must hold a folder {name} of audio files"
                )
            missing = sorted(set().union(*items) - present)
            if missing:
                raise InputError(
                    f"{self.folder} has no {name} for item {missing[0]}",
                    "give every source the same file names",
                )
        return tuple(sorted(items[0]))[: self.limit] if items else ()

    def items(self, names: Sequence[str], seed: int = 0) -> Iterator[Pair]:
        """Yield the items one after the other; the seed is ignored.

        Raises:
            InputError: a file is missing or unreadable, or the sources of an item differ in length or rate.
        """
        for item in self.ids(names):
            files = [_files(self.folder / name)[item] for name in names]
            sources, rates = zip(*map(read_mono, files), strict=True)
            if len(set(map(len, sources))) > 1 or len(set(rates)) > 1:
                raise InputError(
                    f"the sources of item {item} in {self.folder} differ in length or sample rate",
                    "cut and resample them alike",
                )
            yield Pair(item, np.stack(sources), rates[0])

    def files(self, names: Sequence[str]) -> Iterator[Path]:
        """Yield the files that are read, source by source."""
        ids = self.ids(names)
        for name in names:
            files = _files(self.folder / name)
            yield from (files[item] for item in ids)

    def describe(self, names: Sequence[str], seed: int) -> str:
        """Return the folder's name and the first and last item."""
        ids = self.ids(names)
        return f"{self.folder.name}: {ids[0]} … {ids[-1]}"

    def notes(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return a line on what the folders of the sources hold beside the items."""
        folders = [self.folder / name for name in names]
        used = {path for folder in folders for path in _files(folder).values()}
        files, others = zip(*(find_files(folder, SUFFIXES) for folder in folders), strict=True)
        entries = (path for paths in (*files, *others) for path in paths)
        return passed_over(self.folder, (path for path in entries if path not in used))


BUILTIN = Path(__file__).parent / "builtin"
"""Ten mixtures that come with the package."""


def builtin() -> PairFolder:
    """Return the small test set of the package: ten mixtures of drums and bass."""
    return PairFolder(BUILTIN)


def open_pairs(folder: str | Path) -> PairFolder:
    """Return a folder of STEM/ITEM.flac, which is read when its items are needed."""
    return PairFolder(Path(folder))


def _files(folder: Path) -> dict[str, Path]:
    """The audio files of a folder by name without suffix."""
    files: dict[str, Path] = {}
    for path in data_entries(folder) if folder.is_dir() else []:
        if path.suffix.lower() in SUFFIXES:
            if path.stem in files:
                raise InputError(
                    f"{folder} holds {path.stem} twice", f"keep {path.name} or {files[path.stem].name}"
                )
            files[path.stem] = path
    return files
