"""``sepcli separate`` for pictures: one picture in, its sources, a contact sheet and run.json out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli import __version__
from sepcli.cli import console
from sepcli.cli.records import finish, write_record
from sepcli.errors import InputError, OutputError, PriorError, SepError, UsageError

if TYPE_CHECKING:
    from sepcli.catalog.card import Card
    from sepcli.cli.inputs import Job
    from sepcli.media.images import Picture
    from sepcli.separators import ScoreSeparator


@dataclass(frozen=True)
class PictureRequest:
    """What is asked for, in words.

    Attributes:
        inputs: files, folders and globs.
        prior: name or folder.
        sources: K; None: as many as there are weights, else 2.
        weights: w_k of the file's mixture Σ w_k x_k, as words; None: the mean of the sources, 1/K each.
        out: folder.
        filename: template; None: a folder per picture.
        samples: how many draws.
        sampler: name; None: the prior's own.
        settings: of sampler and posterior.
        seed: of the draws.
        device: a word.
        overwrite: replace files that exist.
        resume: skip pictures that are finished.
        as_json: print one JSON document.
        quiet: no progress and no notes.
    """

    inputs: Sequence[str]
    prior: str
    sources: int | None
    weights: str | None
    out: Path
    filename: str | None
    samples: int
    sampler: str | None
    settings: dict[str, str]
    seed: int
    device: str
    overwrite: bool
    resume: bool
    as_json: bool
    quiet: bool


def separate_pictures(request: PictureRequest) -> None:
    """Separate pictures; see ``sepcli.cli.separate``."""
    from sepcli.catalog import card as cards
    from sepcli.catalog.score import load_pictures, picture_names
    from sepcli.cli import inputs as words
    from sepcli.cli.device import choose_device
    from sepcli.media.images import SUFFIXES

    weights = parse_weights(request.weights, request.sources)
    card, _ = cards.find(request.prior)
    usual = "{track}/{stem}.{ext}" if request.samples == 1 else "{track}/{sample}/{stem}.{ext}"
    template = request.filename or usual
    words.check_template(template, request.samples)
    if Path(template).suffix.lower() in set(SUFFIXES) - {".png"}:
        raise UsageError(f"--filename {template}: sources are stored as PNG", "end it with .{ext}")
    names, files = picture_names([card] * len(weights)), words.collect(request.inputs, SUFFIXES)
    jobs = [words.plan(f, request.out, template, names, request.samples, "png", card.name) for f in files]
    words.refuse_collisions(jobs)
    todo = [job for job in jobs if not (request.resume and job.record.is_file())]
    _refuse_existing(todo, request)
    place = str(choose_device(request.device))
    alpha = [w * len(weights) / sum(map(abs, weights)) for w in weights]  # 1 each for a plain mean
    separator = load_pictures(
        [request.prior], alpha, device=place, sampler=request.sampler, settings=request.settings
    )
    made_with = _made_with(card, separator, weights, place, request)
    records: list[dict[str, Any]] = [{"input": str(j.source), "skipped": True} for j in jobs if j not in todo]
    failed: dict[Path, SepError] = {}
    for job in todo:
        try:
            records.append(_separate(job, separator, weights, request, made_with))
            if not request.as_json:
                console.emit(f"{job.stems[0][0].parent}: {', '.join(names)}, {_sheet(job).name}")
        except SepError as error:
            if len(files) == 1 or isinstance(error, UsageError | PriorError):
                raise
            failed[job.source] = error
    finish("pictures", records, failed, request.as_json, len(files))


def _made_with(
    card: Card, separator: ScoreSeparator, weights: Sequence[float], place: str, request: PictureRequest
) -> dict[str, Any]:
    """What all records of a run say alike."""
    return {
        "prior": card.name,
        "files": {name: entry["sha256"] for name, entry in card.files.items()},
        "sampler": request.sampler or card.settings.get("sampler", "projected"),
        "settings": {**card.settings, **request.settings},
        "device": place,
        "seed": request.seed,
        "weights": list(weights),
        "evaluations": separator.evaluations,
    }


def parse_weights(text: str | None, sources: int | None) -> tuple[float, ...]:
    """``0.5,0.5`` or a number of sources → the w_k of the file's mixture.

    Raises:
        UsageError: not numbers, fewer than two, a zero, or not as many as sources.
    """
    if text is None:
        if sources is not None and sources < 2:
            raise UsageError(f"--sources {sources} is no mixture", "ask for two or more")
        return (1 / (sources or 2),) * (sources or 2)
    try:
        weights = tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise UsageError(f"--weights {text} are not numbers", "write for example 0.5,0.5") from error
    if len(weights) < 2 or not all(1e-6 <= abs(w) <= 1e6 for w in weights):
        raise UsageError(f"--weights {text} do not mix", "give two or more, none of them 0")
    if sources not in (None, len(weights)):
        raise UsageError(f"{len(weights)} --weights for --sources {sources}", "leave out --sources")
    return weights


def _separate(
    job: Job,
    separator: ScoreSeparator,
    weights: Sequence[float],
    request: PictureRequest,
    made_with: dict[str, Any],
) -> dict[str, Any]:
    import torch

    from sepcli.media.images import as_channels, read_picture

    started = time.monotonic()
    picture = read_picture(job.source)
    channels = separator.channels or picture.pixels.shape[0]
    mixture = torch.from_numpy(as_channels(picture, channels, job.source))
    scale = len(weights) / sum(map(abs, weights))
    seeds = request.seed * 1_000_003 + torch.arange(request.samples)[None]
    with console.progress(job.track, request.quiet) as on_step:
        drawn = separator(scale * mixture[None], seeds, on_step)[0]
    residual = mixture - torch.einsum("sk...,k->s...", drawn.clamp(0, 1), torch.tensor(list(weights)))
    for k, name in enumerate(separator.names):
        if drawn[:, k].clamp(0, 1).std() < 1 / 255 and mixture.std() >= 1 / 255:
            console.warn(f"{job.track}: the source {name} is empty")
    _write(job, picture, mixture.numpy(), drawn.clamp(0, 1).numpy(), separator.names, request.overwrite)
    record = {
        "input": str(job.source),
        "sources": [[str(path) for path in paths] for paths in job.stems],
        "contact_sheet": str(_sheet(job)),
        **made_with,
        "size": list(mixture.shape[1:]),
        "residual_rms": [float(r.square().mean().sqrt()) for r in residual],
        "seconds": time.monotonic() - started,
        "versions": {"sepcli": __version__, "torch": torch.__version__},
    }
    write_record(job.record, record)
    return record


def _write(
    job: Job, picture: Picture, mixture: Any, drawn: Any, names: Sequence[str], overwrite: bool
) -> None:
    """The sources (S, K, C, H, W), with the mixture's transparency and bits, and the contact sheet."""
    from sepcli.media.images import Picture, write_pictures
    from sepcli.media.sheets import contact_sheet

    pictures = {
        path: Picture(pixels, picture.alpha, picture.bits)
        for paths, sources in zip(job.stems, drawn, strict=True)
        for path, pixels in zip(paths, sources, strict=True)
    }
    rows = [[mixture, *sources] for sources in drawn]
    labels = [f"{number:02d}" if len(rows) > 1 else "" for number in range(1, len(rows) + 1)]
    pictures[_sheet(job)] = Picture(contact_sheet(rows, ["mixture", *names], labels))
    write_pictures(pictures, overwrite=overwrite)


def _sheet(job: Job) -> Path:
    return job.record.with_name(job.record.name.replace("run.json", "contact.png"))


def _refuse_existing(jobs: Sequence[Job], request: PictureRequest) -> None:
    for job in jobs:
        for path in (*(path for paths in job.stems for path in paths), _sheet(job), job.record):
            if os.path.lexists(path) and not request.overwrite:
                hint = "use --overwrite to replace it, --resume to skip it, or another --out folder"
                raise OutputError(f"{path} exists already", hint)
            if os.path.abspath(path) == os.path.abspath(job.source):
                raise InputError(f"{path} would replace the mixture", "choose another --out folder")
