"""Finished estimates against references: find what belongs together by name, read it, score it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sepcli.errors import InputError, SepError
from sepcli.evaluation.baselines import average, oracle_mask
from sepcli.evaluation.report import Failure
from sepcli.evaluation.score import Signals, TrackScore, score_track
from sepcli.media.audio import AudioReader

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".m4a"})
MIXTURE = "mixture"
STEM_NAMES = frozenset(
    {"drums", "bass", "vocals", "other", "accompaniment", "piano", "guitar", "strings", MIXTURE}
)
"""Folders of these names hold one stem of many tracks."""

ESTIMATES, AVERAGE, ORACLE = "estimates", "average", "oracle mask"
"""The rows."""

Stems = dict[str, Path]
Layout = dict[str, Stems]
"""``layout[track][stem]``."""


@dataclass(frozen=True)
class Pairing:
    """What belongs together in two folders."""

    stems: tuple[str, ...]
    """K names, found in both folders."""
    tracks: tuple[tuple[str, Stems, Stems], ...]
    """Name, estimates and references of every complete track; a mixture may be among the references."""
    failures: tuple[Failure, ...]
    """Tracks that lack a file in one of the folders."""
    ignored: tuple[str, ...]
    """Stems that only one of the folders has."""


def pair_folders(estimates: Path, references: Path) -> Pairing:
    """Match estimates with references by name.

    A folder is laid out as ``{track}/{stem}.*``, as ``{stem}/{track}.*``, or holds the stems of one track
    directly.

    Raises:
        InputError: if a folder is missing or ambiguous, or the two have no stem of a track in common.
    """
    est, ref = _layout(estimates), _layout(references)
    if len(est) == len(ref) == 1 and "" in {*est, *ref}:  # a track without a name matches any
        name = next(iter(ref)) or next(iter(est)) or references.name
        est, ref = {name: next(iter(est.values()))}, {name: next(iter(ref.values()))}
    if not _common(est, ref):
        est, ref = next(
            ((e, r) for e, r in ((est, _turned(ref)), (_turned(est), ref)) if _common(e, r)), (est, ref)
        )
    stems = tuple(sorted(_common(est, ref) - {MIXTURE}))
    if not stems:
        raise InputError(
            f"{estimates} and {references} have no stem of a track in common",
            "both need {track}/{stem}.wav (or .flac …) with the same names",
        )
    complete, failures = [], []
    for track in sorted({*est, *ref}):
        missing = [
            f"no {what} of {stem}"
            for what, layout in (("estimate", est), ("reference", ref))
            for stem in stems
            if stem not in layout.get(track, {})
        ]
        if missing:
            failures.append(Failure(track, ", ".join(missing)))
        else:
            complete.append((track, est[track], ref[track]))
    everything = {stem for layout in (est, ref) for by_stem in layout.values() for stem in by_stem}
    return Pairing(stems, tuple(complete), tuple(failures), tuple(sorted(everything - {*stems, MIXTURE})))


def score_folders(pairing: Pairing, metrics: Sequence[str]) -> Iterator[list[TrackScore] | Failure]:
    """Read and score one track after the other, beside the baselines.

    The mixture is the references' own ``mixture.*`` if there is one, else the sum of the stems.

    Args:
        pairing: From ``pair_folders``.
        metrics: Keys of ``sepcli.evaluation.protocol.AGGREGATION``.

    Yields:
        Per track its scores, or why it has none.
    """
    for track, estimates, references in pairing.tracks:
        try:
            yield _score(track, pairing.stems, estimates, references, metrics)
        except SepError as error:
            yield Failure(track, error.message)


def _score(
    track: str,
    stems: Sequence[str],
    estimates: Mapping[str, Path],
    references: Mapping[str, Path],
    metrics: Sequence[str],
) -> list[TrackScore]:
    paths = [references[stem] for stem in stems] + [estimates[stem] for stem in stems]
    paths += [references[MIXTURE]] if MIXTURE in references else []
    signals, rate = _read_alike(paths)
    k = len(stems)
    sources, estimated = signals[:k], signals[k : 2 * k]
    mixture = signals[2 * k] if len(signals) > 2 * k else sources.sum(axis=0)
    weights = (1.0,) * k
    m, x = torch.from_numpy(mixture).T, torch.from_numpy(sources).transpose(1, 2)
    rows: dict[str, Callable[[], Signals]] = {
        ESTIMATES: lambda: estimated,
        AVERAGE: lambda: average(m, weights).transpose(1, 2).numpy(),
        ORACLE: lambda: oracle_mask(m, x, weights, rate).transpose(1, 2).numpy(),
    }
    return [
        score
        for method, row in rows.items()
        for score in score_track(track, method, stems, sources, row(), mixture, metrics, rate)
    ]


def _read_alike(paths: Sequence[Path]) -> tuple[Signals, int]:
    """Signals (N, T, C) that have everything in common, and their sample rate."""
    first, sample_rate = _read(paths[0])
    signals = np.empty((len(paths), *first.shape), dtype=np.float32)
    signals[0] = first
    for number, path in enumerate(paths[1:], start=1):
        signal, rate = _read(path)
        if rate != sample_rate or signal.shape != first.shape:
            raise InputError(
                f"{path} has {_shape(signal, rate)}, but {paths[0]} has {_shape(first, sample_rate)}",
                "compare files of the same sample rate, channels and length",
            )
        signals[number] = signal
    return signals, sample_rate


def _read(path: Path) -> tuple[Signals, int]:
    """(T, C) and the sample rate."""
    with AudioReader(path) as reader:
        return reader.read(reader.info.frames).T.astype(np.float32), reader.info.sample_rate


def _shape(signal: Signals, rate: int) -> str:
    return f"{signal.shape[0]} samples, {signal.shape[1]} channel(s), {rate} Hz"


def _layout(folder: Path) -> Layout:
    """A folder's audio by track and stem; the track of files that lie in the folder itself is ``""``."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", "give a folder of {track}/{stem}.wav (or .flac …)")
    flat = _stems(folder)
    nested = {path.name: _stems(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    nested = {name: stems for name, stems in nested.items() if stems}
    if flat and nested:
        raise InputError(
            f"{folder} holds audio files beside folders of audio files",
            "give either the stems of one track, or one folder per track",
        )
    if not flat and not nested:
        raise InputError(f"{folder} holds no audio", "give a folder of {track}/{stem}.wav (or .flac …)")
    if flat:
        return {"": flat}
    return _turned(nested) if {name.lower() for name in nested} <= STEM_NAMES else nested


def _stems(folder: Path) -> Stems:
    stems: Stems = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith("."):
            if path.stem in stems:
                raise InputError(f"{folder} holds {path.stem} twice", f"keep {path.name} or the other one")
            stems[path.stem] = path
    return stems


def _turned(layout: Layout) -> Layout:
    """``layout[b][a]`` for ``layout[a][b]``."""
    turned: Layout = {}
    for outer, inner in layout.items():
        for name, path in inner.items():
            turned.setdefault(name, {})[outer] = path
    return turned


def _common(a: Layout, b: Layout) -> set[str]:
    """Stems that both have of some track."""
    return {stem for track in a.keys() & b.keys() for stem in a[track].keys() & b[track].keys()}
