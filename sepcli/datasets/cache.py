"""Decoded recordings, in memory or mapped from disk: a file ``k.i16`` per source k, an index of lengths."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sepcli.atomic import remove_leftovers, temporary
from sepcli.datasets.stems import StemBank, concatenate, laid_out
from sepcli.errors import InputError, OutputError

Recordings = Iterable[tuple[int, int, NDArray[np.int16]]]
"""(source, song, samples (T,)), decoded one after the other."""


def fingerprint(paths: Iterable[Path], *settings: object) -> str:
    """A name for what a cache holds; it changes with any of the files, and with the settings (of JSON)."""
    stats = [(str(path.resolve()), path.stat()) for path in paths]
    files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return hashlib.sha256(json.dumps([*settings, files]).encode()).hexdigest()[:16]


def gather(
    recordings: Recordings, names: Sequence[str], sample_rate: int, folder: Path | None = None
) -> StemBank:
    """Make the bank of recordings of the K named sources.

    It is mapped from a cache folder, which is filled unless it exists; without one, it is kept in memory
    (2 bytes a sample).

    Raises:
        InputError: the folder is damaged.
        OutputError: it cannot be written.
    """
    if folder is None:
        gathered: list[list[tuple[int, NDArray[np.int16]]]] = [[] for _ in names]
        for k, song, samples in recordings:
            gathered[k].append((song, samples))
        return concatenate(names, sample_rate, gathered)
    if not folder.is_dir():
        _fill(folder, recordings, len(names))
    return _open(folder, names, sample_rate)


def _fill(folder: Path, recordings: Recordings, count: int) -> None:
    """Write recordings into ``folder``, which gets its name when it is complete."""
    partial: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder.parent)
        partial = temporary(folder)
        partial.mkdir()
        index: list[list[tuple[int, int]]] = [[] for _ in range(count)]  # per source: (song, length)
        for k, song, samples in recordings:
            with open(partial / f"{k}.i16", "ab") as file:
                file.write(samples.astype("<i2").tobytes())
            index[k].append((song, len(samples)))
        (partial / "index.json").write_text(json.dumps(index), "utf-8")
        if not folder.is_dir():  # another process may have been faster
            partial.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise OutputError(
                f"the cache {folder} cannot be written ({error})",
                "choose another cache folder, with enough space",
            ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def _open(folder: Path, names: Sequence[str], sample_rate: int) -> StemBank:
    try:
        index = json.loads((folder / "index.json").read_text("utf-8"))
        tables = [np.array(rows, dtype=np.int64).reshape(-1, 2) for rows in index]
        files = [folder / f"{k}.i16" for k in range(len(names))]
        sizes = [2 * int(table[:, 1].sum()) for table in tables]
        if [file.stat().st_size for file in files] != sizes or any((table < 0).any() for table in tables):
            raise ValueError("its index is of other files")
        samples = [np.asarray(np.memmap(file, "<i2", "r")) for file in files]
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        message = f"the cache {folder} is damaged ({error})"
        raise InputError(message, "delete that folder and start again") from error
    return laid_out(names, sample_rate, samples, tables)
