"""Slakh2100 (Manilow et al., 2019): multi-track songs, one FLAC file per instrument, as a bank of stems.

::

    slakh2100_flac_redux/
    ├── train/Track00001/{mix.flac, metadata.yaml, stems/S00.flac, stems/S01.flac …}
    ├── validation/…
    └── test/…

Stems are grouped by the ``inst_class`` that ``metadata.yaml`` gives them; several stems of one class are
added. Each stem has its own level in Slakh's mix; here every song's source is normalised to a peak of
0.9, for the protocol of LASS (Postolache et al., 2023), where a mixture is the mean of unrelated chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from sepcli.datasets.cache import fingerprint
from sepcli.datasets.decoded import PEAK, Samples, at_one_peak, gather
from sepcli.datasets.recordings import read_resampled
from sepcli.datasets.stems import StemBank
from sepcli.errors import InputError

_FAST_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, ten times as fast, where built

SUFFIXES = (".flac", ".wav")
CACHE_VERSION = 1
METADATA = "metadata.yaml"
LAYOUT = "Slakh2100 holds train/, validation/ and test/, each with folders TrackNNNNN."


def open_slakh(
    root: Path,
    split: str,
    sources: tuple[str, ...] = ("drums", "bass"),
    sample_rate: int = 22050,
    cache: Path | None = None,
) -> StemBank:
    """Open a split of Slakh2100 as clean recordings of the sources.

    A track that lacks a source still gives its other sources. Stems that were not rendered, whose file is
    missing or that are silent are left out.

    Args:
        root: The data set's root, or a folder that holds tracks directly (then ``split`` is not looked at).
        split: ``train``, ``validation`` or ``test``.
        sources: Instrument classes, in any case, in the order wanted.
        sample_rate: In Hz; stems are resampled to it and averaged to mono.
        cache: A folder for the decoded samples. The next call maps them into memory at once, unless a file of
            the data set has changed. Without it, all is decoded into memory (2 bytes a sample).

    Returns:
        The bank, with ``sources`` as its names.

    Raises:
        InputError: If there are no tracks, no stem of a source, or a file that cannot be read.
        OutputError: If the cache cannot be written.
    """
    tracks = find_tracks(root, split)
    folder = None
    if cache is not None:
        folder = cache / f"slakh-{split}-{_fingerprint(tracks, sources, sample_rate)}"
    return gather(_decode(tracks, sources, sample_rate), sources, sample_rate, folder)


def is_slakh(data: Path) -> bool:
    """Whether a folder is of Slakh2100's layout."""
    return any(next(data.glob(pattern), None) for pattern in (f"*/{METADATA}", f"*/*/{METADATA}"))


def find_tracks(root: Path, split: str) -> list[Path]:
    """The folders of the split that hold a metadata.yaml."""
    for folder in (root / split, root):
        tracks = sorted(path.parent for path in folder.glob(f"*/{METADATA}"))
        if tracks:
            return tracks
    if not root.is_dir():
        raise InputError(f"there is no folder {root}", "Give the folder of Slakh2100.")
    splits = sorted({path.parent.parent.name for path in root.glob(f"*/*/{METADATA}")})
    found = f"Its splits are: {', '.join(splits)}." if splits else LAYOUT
    raise InputError(f"{root} has no tracks in a split {split}", found)


def read_stems(track: Path, sources: Sequence[str]) -> tuple[list[list[Path]], set[str]]:
    """The files of each source in a track, and all classes of instruments that the track has."""
    path = track / METADATA
    try:
        metadata = yaml.load(path.read_bytes(), Loader=_FAST_SAFE_LOADER)
        stems: dict[str, dict[str, Any]] = metadata["stems"]
        rendered = {key: str(s["inst_class"]) for key, s in stems.items() if s.get("audio_rendered", True)}
        folder = track / Path(metadata.get("audio_dir") or "stems").name
    except (yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path} is not the metadata of a Slakh track"
        raise InputError(message, "Copy or download it again.") from error
    wanted = [source.casefold() for source in sources]
    files: list[list[Path]] = [[] for _ in sources]
    for key, inst_class in rendered.items():
        places = [folder / f"{key}{suffix}" for suffix in SUFFIXES]
        found = [place for place in places if place.is_file()]
        if found and inst_class.casefold() in wanted:
            files[wanted.index(inst_class.casefold())].append(found[0])
    return files, set(rendered.values())


def _decode(tracks: Sequence[Path], sources: Sequence[str], rate: int) -> Iterator[tuple[int, int, Samples]]:
    """All recordings as (source, song, samples), song by song; raises if a source has none."""
    stems = [read_stems(track, sources) for track in tracks]
    for k, source in enumerate(sources):
        if not any(files[k] for files, _ in stems):
            classes = sorted(set().union(*(found for _, found in stems)))
            hint = f"The classes are: {', '.join(classes) or 'none'}."
            raise InputError(f"no track has a stem of class {source}", hint)
    signals = (
        (k, song, _add([read_resampled(path, rate) for path in paths]))
        for song, (files, _) in enumerate(stems)
        for k, paths in enumerate(files)
    )
    yield from at_one_peak(signals, sources)


def _add(signals: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The sum of signals that start together; shorter ones end in silence."""
    total = np.zeros(max(map(len, signals), default=0), dtype=np.float32)
    for signal in signals:
        total[: len(signal)] += signal
    return total


def _fingerprint(tracks: Sequence[Path], sources: Sequence[str], rate: int) -> str:
    """A name for what a cache holds; it changes with any file of the tracks, the sources and the rate."""
    paths = [path for track in tracks for path in sorted(track.rglob("*"))]
    kept = [path for path in paths if path.suffix in (*SUFFIXES, ".yaml")]
    return fingerprint(kept, CACHE_VERSION, PEAK, list(sources), rate)
