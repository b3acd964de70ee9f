"""Decoded recordings on disk, mapped into memory: a file ``k.i16`` per source k, an index of lengths."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sepcli.datasets.stems import StemBank
from sepcli.errors import InputError, OutputError


def fingerprint(paths: Iterable[Path], *settings: object) -> str:
    """A name for what a cache holds; it changes with any of the files, and with the settings (of JSON)."""
    stats = [(str(path.resolve()), path.stat()) for path in paths]
    files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return hashlib.sha256(json.dumps([*settings, files]).encode()).hexdigest()[:16]


def fill(folder: Path, recordings: Iterator[tuple[int, int, NDArray[np.int16]]], count: int) -> None:
    """Write recordings into ``folder``, which gets its name when it is complete.

    Args:
        folder: The cache; nothing happens if another process makes it meanwhile.
        recordings: (source, song, samples (T,)), decoded lazily.
        count: Number of sources.

    Raises:
        OutputError: It cannot be written.
    """
    partial: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
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
            hint = "Give a cache folder that can be written, with enough space."
            raise OutputError(f"the cache {folder} cannot be written ({error})", hint) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def open_cache(folder: Path, sources: Sequence[str], sample_rate: int) -> StemBank:
    """The bank over a filled cache folder.

    Raises:
        InputError: It is damaged.
    """
    try:
        index = json.loads((folder / "index.json").read_text("utf-8"))
        tables = [np.array(rows, dtype=np.int64).reshape(-1, 2) for rows in index]
        ends = [np.cumsum([0, *table[:, 1]], dtype=np.int64) for table in tables]
        files = [folder / f"{k}.i16" for k in range(len(sources))]
        sizes = [file.stat().st_size for file in files]
        if sizes != [2 * int(end[-1]) for end in ends] or any((table < 0).any() for table in tables):
            raise ValueError("its index is of other files")
        samples = [np.memmap(file, "<i2", "r") for file in files]
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        message = f"the cache {folder} is damaged ({error})"
        raise InputError(message, "delete that folder and start again") from error
    return StemBank(
        names=tuple(sources),
        sample_rate=sample_rate,
        samples=tuple(np.asarray(source) for source in samples),  # plain views of the memory maps
        spans=tuple(np.stack([end[:-1], end[1:]], axis=1) for end in ends),
        songs=tuple(table[:, 0] for table in tables),
    )
