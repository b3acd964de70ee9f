"""The tracks of a report to look at and listen to: best, median, worst."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from PIL import Image

from sepcli.errors import InputError
from sepcli.evaluation.folders import read_sound
from sepcli.evaluation.layouts import MIXTURE, SOUNDS, Layout, Source, pair_folders
from sepcli.evaluation.layouts import PICTURES as PICTURE_FILES
from sepcli.evaluation.protocol import PICTURES
from sepcli.evaluation.report import Report
from sepcli.evaluation.score import Signals
from sepcli.evaluation.summary import track_values
from sepcli.media.images import read_picture

SECONDS = 8.0
"""Of sound that are kept of a track, from its middle."""


class Clip(NamedTuple):
    """Something to hear or to see."""

    row: str
    """Who made it."""
    stem: str
    mime: str
    data: bytes


class Case(NamedTuple):
    """A track that stands for others."""

    label: str
    """best, median or worst."""
    track: str
    value: float
    """Of the report's first metric and method, averaged over stems."""


ClipsOf = Callable[[str], list[Clip]]
"""Of a track, by name."""


def pick_cases(report: Report) -> list[Case]:
    """The best, the median and the worst track of the first method in the first metric, each track once.

    The median is a track, the lower of two in the middle. Tracks without a value are left out.
    """
    methods = track_values(report.scores)[report.protocol.metrics[0]]
    values = list(next(iter(methods.values())).values())[-1]
    ranked = sorted((value, track) for track, value in values.items() if not np.isnan(value))
    if not ranked:
        return []
    places = {"best": -1, "median": (len(ranked) - 1) // 2, "worst": 0}
    found: dict[str, Case] = {}
    for label, place in places.items():
        value, track = ranked[place]
        found.setdefault(track, Case(label, track, value))
    return list(found.values())


def folder_clips(estimates: Path, references: Path | Layout, metrics: Sequence[str]) -> ClipsOf:
    """Where the clips of a report on folders come from.

    Args:
        estimates: What was scored.
        references: Likewise.
        metrics: Of the report.

    Returns:
        From a track's name to its clips: the mixture if there is a file of it, the references, the estimates.
        Sound is mono, 16 bits, the middle 8 seconds.
    """
    pictures = metrics[0] in PICTURES
    pairing = pair_folders(estimates, references, PICTURE_FILES if pictures else SOUNDS)
    tracks = {track.name: track for track in pairing.tracks}
    load = _picture if pictures else _sound

    def clips(name: str) -> list[Clip]:
        track = tracks[name]
        mixture = [MIXTURE] if MIXTURE in track.references and not pictures else []
        wanted = [("reference", stem, track.references[stem]) for stem in (*mixture, *pairing.stems)]
        wanted += [
            (row, stem, stems[stem]) for row, stems in track.estimates.items() for stem in pairing.stems
        ]
        return [Clip(row, stem, *load(source)) for row, stem, source in wanted]

    return clips


def _sound(source: Source) -> tuple[str, bytes]:
    signal, rate = read_sound(source)
    return "audio/flac", encode_sound(signal, rate)


def encode_sound(signal: Signals, rate: int) -> bytes:
    """(T, C) as FLAC: the middle seconds, mono, 16 bits."""
    length = min(len(signal), round(SECONDS * rate))
    start = (len(signal) - length) // 2
    file = io.BytesIO()
    mono = signal[start : start + length].mean(axis=1).clip(-1.0, 1.0)
    soundfile.write(file, mono, rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _picture(source: Source) -> tuple[str, bytes]:
    if not isinstance(source, Path):
        raise InputError(f"{source.paths[0]} is no picture", "give folders of pictures")
    values = np.round(255 * read_picture(source).pixels).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(values[0] if len(values) == 1 else np.moveaxis(values, 0, -1)).save(file, "PNG")
    return "image/png", file.getvalue()
