"""The tracks of a report to look at and listen to: best, median, worst."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sepcli.errors import InputError
from sepcli.evaluation.folder_layouts import FolderTrack, Source
from sepcli.evaluation.folders import read_sound
from sepcli.evaluation.previews import MIXTURE, REFERENCE, Clip, encode_audio, encode_image
from sepcli.evaluation.report import Report
from sepcli.evaluation.summary import track_values
from sepcli.media.images import read_image
from sepcli.metrics import METRICS


class Case(NamedTuple):
    """A track that stands for others."""

    label: str
    """best, median or worst."""
    track: str
    value: float
    """Value of the report's first metric and method, averaged over stems."""


def pick_cases(report: Report) -> list[Case]:
    """The best, the median and the worst track of the first method in the first metric, each track once.

    The median is a track, the lower of two in the middle. Tracks without a value are left out.
    """
    methods = track_values(report.scores)[report.protocol.metrics[0]]
    values = list(next(iter(methods.values())).values())[-1]
    ranked = sorted((value, track) for track, value in values.items() if not np.isnan(value))
    if not METRICS[report.protocol.metrics[0]].higher_is_better:
        ranked.reverse()
    if not ranked:
        return []
    ranks = {"best": -1, "median": (len(ranked) - 1) // 2, "worst": 0}
    cases: dict[str, Case] = {}
    for label, rank in ranks.items():
        value, track = ranked[rank]
        cases.setdefault(track, Case(label, track, value))
    return list(cases.values())


def track_clips(track: FolderTrack, names: Sequence[str], images: bool) -> list[Clip]:
    """Return previews of a track's files: its mixture if there is a file, the references, the estimates.

    Args:
        track: its files.
        names: K stems.
        images: whether they are images.
    """
    load = _image if images else _sound
    wanted = []
    if MIXTURE in track.references and not images:
        wanted.append((MIXTURE, MIXTURE, track.references[MIXTURE]))
    for row, stems in {REFERENCE: track.references, **track.estimates}.items():
        wanted += [(row, stem, stems[stem]) for stem in names]
    return [Clip(row, stem, *load(source)) for row, stem, source in wanted]


def _sound(source: Source) -> tuple[str, bytes]:
    signal, rate = read_sound(source)
    return encode_audio(signal, rate)


def _image(source: Source) -> tuple[str, bytes]:
    if not isinstance(source, Path):
        raise InputError(f"{source.paths[0]} is no image", "give folders of images")
    return encode_image(read_image(source).pixels)
