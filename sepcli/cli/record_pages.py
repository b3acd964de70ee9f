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
from sepcli.cli.records import RunRecord, read_record
from sepcli.cli.run_record import is_file_of
from sepcli.errors import InputError, OutputError, PriorError
from sepcli.pages.audio import Signal
from sepcli.pages.image import Pixels
from sepcli.pages.separation import About, Group, Row, Voice, audio_page, image_page

MIXTURE = "mixture"
NAMES = {
    "command": "command",
    "prior": "prior",
    "engine": "engine",
    "sampler": "sampler",
    "weights": "weights of the sources",
    "seed": "seed",
    "device": "device",
    "gray": "gray",
    "gray_from": "gray chosen",
    "rule": "rule of the method",
    "rank": "order of the samples",
    "medoid": "sample nearest to all others",
}
"""Entry of a record → its name in a page."""


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


def written(record: RunRecord) -> tuple[str, ...]:
    """Return the names of the stems that were written."""
    options = record.options
    if options.two_stems:
        return (options.two_stems, f"no_{options.two_stems}")
    return tuple(options.only or record.sources)


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
                partial(read_sound, folder / files[0 if together else k], k + 1 if together else 0),
                () if number else confidence.get(name, ()),
            )
            for k, name in enumerate(names)
        ]
        groups.append(Group(_title(record, number), voices, _quality(record, number) if several else ""))
    mixture = _mixture(record, folder)
    if mixture is None and len(names) > 1 and _sums(record):
        mixture = Group("Mixture", [Voice("sum of the stems", partial(_sum, groups[0].voices))])
    groups = [*([mixture] if mixture else []), *groups]
    return audio_page(_about(record, folder, f"{seconds:.1f} s"), groups, rate, seconds)


def _mixture(record: RunRecord, folder: Path) -> Group | None:
    """Return the mixture, from its file if that is there and has not changed."""
    source = folder / record.input
    if len(record.stems[0]) < len(written(record)):
        return Group("Mixture", [Voice(MIXTURE, partial(read_sound, folder / record.stems[0][0], 0))])
    if not is_file_of(source, record.input_sha256):
        return None
    start, length = record.options.start or 0.0, record.options.length or None
    return Group("Mixture", [Voice(MIXTURE, partial(read_sound, source, 0, float(start), length))])


def _sums(record: RunRecord) -> bool:
    """Return whether the stems that were written sum to the mixture."""
    stream = record.stream if isinstance(record.stream, dict) else {}
    return not record.options.only and stream.get("consistency") != "none"


def _sum(voices: Sequence[Voice]) -> Signal:
    first, *others = (voice.read() for voice in voices)
    for other in others:
        first = first + other
    return first


def read_sound(path: Path, stream: int = 0, start: float = 0.0, length: float | None = None) -> Signal:
    """Return samples (T, C) of a part of a file, from a second on.

    Raises:
        InputError: the file cannot be read.
    """
    from sepcli.media.audio import AudioReader

    with AudioReader(path, stream) as reader:
        rate = reader.info.sample_rate
        reader.skip(round(start * rate))
        frames = reader.info.frames if length is None else max(1, round(length * rate))
        return np.ascontiguousarray(reader.read(frames).T, dtype=np.float32)


def _images(record: RunRecord, folder: Path) -> str:
    samples = [[_pixels(folder / name) for name in files] for files in record.stems]
    mixture, named = _image_mixture(record, folder, samples[0])
    rows = [Row("Mixture", [(named, mixture)])]
    several = len(samples) > 1
    for number, images in enumerate(samples):
        note = _quality(record, number) if several else ""
        rows.append(Row(_title(record, number), [*zip(record.sources, images, strict=True)], note))
    rows += _beside(record, folder)
    size = "{1} x {0} pixels".format(*samples[0][0].shape[1:])
    return image_page(_about(record, folder, size), rows)


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
    names = [_title(record, number) for number in range(len(images))]
    several = len(images) > 1
    notes = [_quality(record, number) if several else "" for number in range(len(images))]
    weights = np.asarray(record.weights, np.float32)[:, None, None]
    gray = (_in_color(images[0]) * weights).sum(axis=0, keepdims=True)
    rows = [Row("Samples", [("gray", gray), *zip(names, images, strict=True)]), *_beside(record, folder)]
    size = "{1} x {0} pixels".format(*gray.shape[1:])
    samples = [*zip(names, notes, images, strict=True)]
    return image_page(_about(record, folder, size), rows, gray, samples)


def _in_color(pixels: Pixels) -> Pixels:
    return np.broadcast_to(pixels, (3, *pixels.shape[1:]))


def _pixels(path: Path) -> Pixels:
    from sepcli.media.images import read_image

    return read_image(path, first=True).pixels


def _title(record: RunRecord, number: int) -> str:
    if len(record.stems) == 1:
        return (
            "Colors" if record.command == "colorize" else "Sources" if record.medium == "image" else "Stems"
        )
    return f"Sample {number + 1}{', the best' if number == 0 else ''}"


def _quality(record: RunRecord, number: int) -> str:
    """Return a line on a sample: what the record measured."""
    sample = record.samples[number] if number < len(record.samples) else None
    if sample is None:
        return ""
    parts = [
        "" if sample.agreement_db is None else f"agreement with the others {sample.agreement_db:.1f} dB",
        "" if sample.log_prior is None else f"log prior {sample.log_prior:.6g} nats",
    ]
    return ", ".join(part for part in parts if part)


def _about(record: RunRecord, folder: Path, size: str) -> About:
    prior = ", ".join(record.prior) if isinstance(record.prior, tuple) else record.prior or record.engine
    verb = "colorized" if record.command == "colorize" else f"separated into {', '.join(written(record))}"
    count = len(record.stems)
    samples = f", {count} samples" if count > 1 else ""
    title = Path(record.input).stem or folder.name
    lead = f"{Path(record.input).name}, {size}, {verb} by {prior}{samples}."
    return About(title, lead, [*_warnings(record)], [*_settings(record)], [*_cards(record)])


def _warnings(record: RunRecord) -> Iterator[str]:
    """Yield sentences on a prior that does not explain the mixture, and on stems that hold nothing."""
    fit = getattr(record, "fit", None)
    if isinstance(fit, dict) and fit.get("warning"):
        yield str(fit["warning"])
    names = written(record)
    for sets in record.report.get("sets") or ():
        for stem in sets:
            if stem.get("name") in names and stem.get("silent") and record.report.get("rms"):
                yield f"The stem {stem['name']} is silent."
            if stem.get("name") in names and stem.get("equals_mixture"):
                yield f"The stem {stem['name']} equals the mixture."
        break


def _settings(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield name and value of what ran."""
    for key, name in NAMES.items():
        value = getattr(record, key)
        if value is not UNSET and value is not None:
            yield name, _text(value)
    for table in (record.settings, record.stream if isinstance(record.stream, dict) else {}):
        yield from ((key.replace("_", " "), _text(value)) for key, value in table.items())
    yield "versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _cards(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield name and model card of the priors that are here; nothing is fetched."""
    from sepcli.catalog import resolve
    from sepcli.catalog.model_card import model_card

    for reference in dict.fromkeys(record.prior_references):
        if reference.startswith(".") or ":" in reference:
            continue  # a folder may be anyone's, and a file of code is never loaded
        try:
            card, _ = resolve.find(reference)
        except PriorError:
            continue
        yield reference, model_card(card, reference).partition("\n---\n")[2].strip()
