"""The page of a run: its record and the files beside it, as what ``sepcli.pages`` shows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from sepcli.atomic import write_text
from sepcli.cli.record_about import about_of, quality_of, title_of, written
from sepcli.cli.records import RunRecord, read_record
from sepcli.cli.run_record import is_file_of
from sepcli.errors import InputError, OutputError
from sepcli.pages.audio import Signal
from sepcli.pages.image import Pixels
from sepcli.pages.separation import Group, Row, Voice, audio_page, image_page

MIXTURE = "mixture"
BLOCK = 1 << 20
"""Samples that are decoded at once."""


def write_page(record: Path, page: Path, overwrite: bool = False) -> None:
    """Write the page of the run with a record.

    Raises:
        InputError: the record or an output is missing or cannot be read.
        OutputError: the page is there already, or cannot be written.
    """
    if os.path.lexists(page) and not overwrite:
        raise OutputError(f"{page} exists already", "use --overwrite to replace it")
    write_text(page, page_of(read_record(record), record), "choose another file")


def page_of(record: RunRecord, path: Path) -> str:
    """Return the page of the run whose record is the file ``path``.

    Raises:
        InputError: an output is missing or cannot be read.
    """
    missing = [name for name in record.listed() if not (path.parent / name).is_file()]
    if missing:
        raise InputError(f"{path.parent / missing[0]} is missing", "separate the input again")
    make = _audio if record.medium == "audio" else _colors if record.command == "colorize" else _images
    return make(record, path.parent)


def _audio(record: RunRecord, folder: Path) -> str:
    from sepcli.media.audio import AudioReader

    names, first = written(record), record.stems[0]
    with AudioReader(folder / first[0]) as reader:
        rate, seconds = reader.info.sample_rate, reader.info.seconds
    confidence = record.confidence or {}
    several = len(record.stems) > 1
    groups = []
    for number, files in enumerate(record.stems):
        together = len(files) < len(names)
        voices = [
            Voice(
                name,
                partial(
                    read_audio, folder / files[0 if together else k], k + 1 if together else 0, 0.0, None
                ),
                () if number else confidence.get(name, ()),
            )
            for k, name in enumerate(names)
        ]
        groups.append(Group(title_of(record, number), voices, quality_of(record, number) if several else ""))
    mixture = _mixture(record, folder)
    if mixture is None and len(names) > 1 and _sums(record):
        mixture = Group("Mixture", [Voice("sum of the stems", partial(_sum, groups[0].voices))])
    groups = [*([mixture] if mixture else []), *groups]
    return audio_page(about_of(record, folder, f"{seconds:.1f} s"), groups, rate, seconds)


def _mixture(record: RunRecord, folder: Path) -> Group | None:
    """Return the mixture, from its file if that is there and has not changed."""
    source = folder / record.input
    if len(record.stems[0]) < len(written(record)):
        return Group(
            "Mixture", [Voice(MIXTURE, partial(read_audio, folder / record.stems[0][0], 0, 0.0, None))]
        )
    if not is_file_of(source, record.input_sha256):
        return None
    start, length = record.options.start or 0.0, record.options.length or None
    return Group("Mixture", [Voice(MIXTURE, partial(read_audio, source, 0, float(start), length))])


def _sums(record: RunRecord) -> bool:
    """Return whether the stems that were written sum to the mixture."""
    stream = record.stream if isinstance(record.stream, dict) else {}
    return not record.options.only and stream.get("consistency") != "none"


def _sum(voices: Sequence[Voice], frames: int) -> Signal:
    first, *others = (voice.read(frames) for voice in voices)
    for other in others:
        first = first + other
    return first


def read_audio(path: Path, stream: int, start: float, length: float | None, frames: int) -> Signal:
    """Return the first samples (T, C) of a part of a file, which is decoded block by block.

    Args:
        path: the file.
        stream: index of its audio stream.
        start: seconds before the part.
        length: seconds of the part; None: to the end.
        frames: samples that are read at most.

    Raises:
        InputError: the file cannot be read.
    """
    from sepcli.media.audio import AudioReader

    with AudioReader(path, stream) as reader:
        rate = reader.info.sample_rate
        reader.skip(round(start * rate))
        left = frames if length is None else min(frames, max(1, round(length * rate)))
        blocks = [np.zeros((0, reader.info.channels), np.float32)]
        while left > 0 and (block := reader.read(min(left, BLOCK))).size:
            blocks.append(block.T.astype(np.float32))
            left -= block.shape[1]
        return np.concatenate(blocks)


def _images(record: RunRecord, folder: Path) -> str:
    samples = [[_pixels(folder / name) for name in files] for files in record.stems]
    mixture, named = _image_mixture(record, folder, samples[0])
    rows = [Row("Mixture", [(named, mixture)])]
    several = len(samples) > 1
    for number, images in enumerate(samples):
        note = quality_of(record, number) if several else ""
        rows.append(Row(title_of(record, number), [*zip(record.sources, images, strict=True)], note))
    rows += _beside(record, folder)
    size = "{1} x {0} pixels".format(*samples[0][0].shape[1:])
    return image_page(about_of(record, folder, size), rows)


def _image_mixture(record: RunRecord, folder: Path, sources: Sequence[Pixels]) -> tuple[Pixels, str]:
    if is_file_of(folder / record.input, record.input_sha256):
        return _pixels(folder / record.input), MIXTURE
    total: NDArray[Any] = sum(w * x for w, x in zip(record.weights, sources, strict=True))  # type: ignore[assignment]
    return total.astype(np.float32), "weighted sum of the sources"


def _beside(record: RunRecord, folder: Path) -> Iterator[Row]:
    """Yield mean and standard deviation of several samples."""
    scale = record.report.get("std_scale", 1.0)
    notes = {"Mean": "", "Standard deviation": f"Times {scale:.3g}, so that the greatest is white."}
    for (title, note), files in zip(notes.items(), (record.mean, record.std), strict=True):
        if files is not UNSET:
            names = record.sources if len(files) == len(record.sources) else ("image",)
            yield Row(title, [(n, _pixels(folder / f)) for n, f in zip(names, files, strict=True)], note)


def _colors(record: RunRecord, folder: Path) -> str:
    images = [_pixels(folder / files[0]) for files in record.stems]
    names = [title_of(record, number) for number in range(len(images))]
    several = len(images) > 1
    notes = [quality_of(record, number) if several else "" for number in range(len(images))]
    weights = np.asarray(record.weights, np.float32)[:, None, None]
    gray = (_in_color(images[0]) * weights).sum(axis=0, keepdims=True)
    rows = [Row("Samples", [("gray", gray), *zip(names, images, strict=True)]), *_beside(record, folder)]
    size = "{1} x {0} pixels".format(*gray.shape[1:])
    samples = [*zip(names, notes, images, strict=True)]
    return image_page(about_of(record, folder, size), rows, gray, samples)


def _in_color(pixels: Pixels) -> Pixels:
    return np.broadcast_to(pixels, (3, *pixels.shape[1:]))


def _pixels(path: Path) -> Pixels:
    from sepcli.media.images import read_image

    return read_image(path, first=True).pixels
