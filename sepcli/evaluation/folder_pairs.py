"""Finished estimates and references, matched by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sepcli.datasets.songs import Recording
from sepcli.errors import InputError
from sepcli.evaluation.folder_layouts import (
    ESTIMATES,
    MIXTURE,
    SOUNDS,
    SPLITS,
    Layout,
    Stems,
    joined,
    notes_on,
    parts_of,
    references_in,
    turned,
)
from sepcli.evaluation.report import Failure

RESTS = {"accompaniment": "vocals", "instrumental": "vocals"}
"""Name of a rest → the stem that it lacks; others are called ``no_STEM``."""
SWAPPED = "only the estimates hold a mixture: are estimates and references swapped?"


@dataclass(frozen=True)
class FolderTrack:
    """A track that has all its files: estimates by row, and references, maybe with a mixture."""

    id: str
    estimates: Mapping[str, Stems]
    references: Stems
    stems: tuple[str, ...]
    """Stems that are scored; others of the pairing have no reference in this track."""


@dataclass(frozen=True)
class Pairing:
    """Tracks that two folders have in common."""

    stems: tuple[str, ...]
    """K names that the references and the estimates of every row have."""
    tracks: tuple[FolderTrack, ...]
    failures: tuple[Failure, ...]
    """Tracks that lack a file."""
    ignored: tuple[str, ...]
    """Stems that are not everywhere."""
    warnings: tuple[str, ...] = ()
    """Doubts about the two folders."""
    notes: tuple[str, ...] = ()
    """Sentences on what is not scored."""


def pair_folders(estimates: Path, references: Path | Layout, suffixes: tuple[str, ...] = SOUNDS) -> Pairing:
    """Match estimates with references by name.

    Of references in splits, only the splits that have an estimated track are taken. A track is scored in the
    stems that it has a reference of, and needs estimates of them. A stem of which most tracks have no
    estimate is scored where there is one.

    Args:
        estimates: a folder in one of the layouts of ``sepcli.evaluation.folder_layouts``.
        references: likewise; or the tracks of a data set.
        suffixes: of the files of stems.

    Raises:
        InputError: a folder is missing or ambiguous, or the two have no stem of a track in common.
    """
    parts = parts_of(estimates, suffixes)
    rows = {ESTIMATES: joined(parts, estimates)} if parts.keys() <= SPLITS | {""} else parts
    tracks = {name for layout in rows.values() for track in layout for name in (track, _plain(track))}
    ref = references_in(references, tracks, suffixes) if isinstance(references, Path) else references
    name = references.name if isinstance(references, Path) else "track"
    where = references if isinstance(references, Path) else "the data set"
    for row, est in rows.items():
        rows[row], ref = _match(est, ref, name)
    ref = _with_rests(ref, rows)
    common = [_common(est, ref) - {MIXTURE} for est in rows.values()]
    stems = tuple(sorted(set.intersection(*common)))
    if not stems:
        raise InputError(
            f"{estimates} and {where} have no stem of a track in common",
            "both need {track}/{stem}.wav (or .flac …) with the same names",
        )
    complete, failures = _matched(stems, rows, ref)
    everything = {stem for layout in (*rows.values(), ref) for stems in layout.values() for stem in stems}
    folders = [estimates, *([references] if isinstance(references, Path) else [])]
    return Pairing(
        stems,
        complete,
        failures,
        ignored=tuple(sorted(everything - {*stems, MIXTURE})),
        warnings=(SWAPPED,) if _has_mixture(*rows.values()) and not _has_mixture(ref) else (),
        notes=(
            *_uneven(stems, complete),
            *(note for folder in folders for note in notes_on(folder, suffixes)),
        ),
    )


def _with_rests(ref: Layout, rows: Mapping[str, Layout]) -> Layout:
    """Add references of "everything but one stem", where all estimates are that stem and such a rest.

    That is what the two-stem modes of programs write: ``no_vocals`` beside ``vocals``. The reference is the
    sum of the other stems.
    """
    estimated = {stem for est in rows.values() for stems in est.values() for stem in stems} - {MIXTURE}
    rests = {stem: RESTS.get(stem, stem.removeprefix("no_")) for stem in estimated}
    rests = {rest: stem for rest, stem in rests.items() if rest != stem and {rest, stem} == estimated}
    added: dict[str, Stems] = {}
    for track, stems in ref.items():
        others = {name: source for name, source in stems.items() if name not in (*estimated, MIXTURE)}
        paths = [p for s in others.values() for p in ([s] if isinstance(s, Path) else s.paths)]
        sums = {
            rest: Recording(tuple(paths))
            for rest, stem in rests.items()
            if stem in stems and rest not in stems and paths
        }
        added[track] = {name: stems[name] for name in stems if not sums or name not in others} | sums
    return added


def _matched(
    stems: Sequence[str], rows: Mapping[str, Layout], ref: Layout
) -> tuple[tuple[FolderTrack, ...], tuple[Failure, ...]]:
    """Return the tracks that have all their files, and the others as failures."""
    labelled = [("estimate" if row == ESTIMATES else f"estimate by {row}", est) for row, est in rows.items()]
    frequent = [stem for stem in stems if _is_frequent(stem, rows, ref)]
    complete, failures = [], []
    for track in sorted({*ref, *(track for est in rows.values() for track in est)}):
        estimated = [stem for stem in stems if all(stem in est.get(track, {}) for est in rows.values())]
        wanted = tuple(s for s in stems if s in ref.get(track, {}) and (s in frequent or s in estimated))
        missing = [
            f"no {what} of {stem}"
            for what, layout in (*labelled, ("reference", ref))
            for stem in wanted or stems
            if stem not in layout.get(track, {})
        ]
        if missing:
            failures.append(Failure(track, ", ".join(missing)))
        else:
            row = {row: est[track] for row, est in rows.items()}
            complete.append(FolderTrack(track, row, ref[track], wanted))
    return tuple(complete), tuple(failures)


def _is_frequent(stem: str, rows: Mapping[str, Layout], ref: Layout) -> bool:
    """Whether half or more of the tracks with estimates and a reference of a stem have its estimates."""
    tracks = [track for track in ref if stem in ref[track] and all(track in est for est in rows.values())]
    estimated = [track for track in tracks if all(stem in est[track] for est in rows.values())]
    return 2 * len(estimated) >= len(tracks)


def _uneven(stems: Sequence[str], tracks: Sequence[FolderTrack]) -> list[str]:
    """Return a sentence on stems that not every track is scored in."""
    counts = {stem: sum(stem in track.stems for track in tracks) for stem in stems}
    rare = [f"{stem} ({count})" for stem, count in counts.items() if count < len(tracks)]
    listed = f"not scored in all of {len(tracks)} tracks, but in so many: {', '.join(rare)}"
    return [listed] if rare else []


def _has_mixture(*layouts: Layout) -> bool:
    return any(MIXTURE in stems for layout in layouts for stems in layout.values())


def _match(est: Layout, ref: Layout, name: str) -> tuple[Layout, Layout]:
    """Both layouts with the same names for tracks and stems, where that is possible."""
    if len(est) == len(ref) == 1 and "" in {*est, *ref}:  # a track without a name matches any
        name = next(iter(ref)) or next(iter(est)) or name
        return {name: next(iter(est.values()))}, {name: next(iter(ref.values()))}
    est = {_plain(track) if track not in ref and _plain(track) in ref else track: est[track] for track in est}
    for change in (dict, _lower):  # Drums.wav is drums.wav
        e, r = change(est), change(ref)
        for pair in ((e, r), (e, turned(r)), (turned(e), r)):
            if _common(*pair):
                return pair
    return est, ref


def _lower(layout: Layout) -> Layout:
    """Return a layout with the names of stems in lower case, but of a track where two would be alike."""
    return {
        track: {stem.lower(): source for stem, source in stems.items()}
        if len({stem.lower() for stem in stems}) == len(stems)
        else stems
        for track, stems in layout.items()
    }


def _plain(track: str) -> str:
    """The song's name in that of MUSDB18's file ``SONG.stem.mp4``, which programs call ``SONG.stem``."""
    return track.removesuffix(".stem")


def _common(a: Layout, b: Layout) -> set[str]:
    """Stems that both have of some track."""
    return {stem for track in a.keys() & b.keys() for stem in a[track].keys() & b[track].keys()}
