"""``sepcli separate``: mixtures in, stems out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sepcli import __version__
from sepcli.cli import console
from sepcli.cli.audio_samples import describe, summary
from sepcli.cli.fetch import fetch_if_new
from sepcli.cli.resolve import DEFAULT_PRIOR, Method, compose, engine_of, find_card, load
from sepcli.cli.resume import refuse_unlike, replace_record
from sepcli.cli.run_record import enough_memory, finish
from sepcli.cli.settings import (
    CONSISTENCY,
    Consistency,
    consistency_for,
    parse_settings,
    split_settings,
    stream_settings,
)
from sepcli.errors import OutputError, PriorError, SepError, UsageError

if TYPE_CHECKING:
    from sepcli.catalog.card import Card
    from sepcli.cli.inputs import Job
    from sepcli.protocols import Separator
    from sepcli.separation.settings import StreamSettings
    from sepcli.separation.stem_report import StreamReport


class Format(StrEnum):
    """What ``--format`` takes."""

    WAV = "wav"
    FLAC = "flac"


def separate(
    inputs: Annotated[list[str], typer.Argument(help="Audio files, or images; folders of them, or globs.")],
    priors: Annotated[
        list[str] | None,
        typer.Option(
            "--prior",
            help=f"Name or folder; else {DEFAULT_PRIOR}. Priors of one sound: one per source, two or "
            "more, or one with --rest. Images: one for all sources, or one each.",
        ),
    ] = None,
    rest: Annotated[
        bool,
        typer.Option(
            "--rest",
            help="Score priors of sounds: a stem `rest` for all else that is in the mixture. --set "
            "rest=0.5 is the share of the mixture that it is expected to be.",
        ),
    ] = False,
    sources: Annotated[
        int | None, typer.Option(min=2, help="Images: how many sources; if not given 2, or one per prior.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="The mixture is Σ w x with these w, for example 0.5,0.5. If not given: images, the mean; "
            "priors of one sound, 1 each. That of the rest comes last, or is like the others."
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(
            help="lass, score or variational, the engine, for priors that offer several: if not given "
            "the one that has the --sampler, score for a --rest, else the prior's own; langevin is score "
            "with that sampler. The others need no prior."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the stems.")] = Path("separated"),
    filename: Annotated[
        str | None,
        typer.Option(
            help="Template with {track} {stem} {ext} {sample} {prior}; default {track}/{stem}.{ext}."
        ),
    ] = None,
    consistency: Annotated[
        Consistency | None,
        typer.Option(help=CONSISTENCY),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Keep so many posterior draws, each with stems of its own.")
    ] = 1,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="Of lass greedy, ancestral, top-k or beam; of score, images and priors of one sound "
            "projected, halving, multi-source or langevin. The prior's own if not given."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting of sampler or stream, such as lam=2 or draws=8; repeatable.",
        ),
    ] = None,
    container: Annotated[
        Format | None, typer.Option("--format", help="wav or flac; the input's own if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same stems.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace stems that exist.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip mixtures that are finished, with the same options.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes.")] = False,
) -> None:
    """Separate mixtures; the stems keep rate, channels, bit depth and length, and sum to the mixture."""
    from sepcli.cli import inputs as words
    from sepcli.cli.images import ImageRequest, separate_images

    template = filename or ("{track}/{stem}.{ext}" if samples == 1 else "{track}/{sample}/{stem}.{ext}")
    words.check_template(template, samples)
    prior = priors[0] if priors else None
    fetch_if_new(priors or (), quiet)
    method, sampler = engine_of(method, sampler)
    image = words.image_among(inputs)
    if image is not None and prior is None and (method is None or not method.blind):
        raise UsageError(f"{image} is an image, and there is no --prior of images", _image_priors())
    # a misspelt name is answered before torch is imported
    card = find_card(method, prior, sampler, samples, rest)
    given = parse_settings(settings or [])
    if card.medium == "image":
        if container is not None:
            raise UsageError("--format is for sound, images are stored as PNG", "leave it out")
        if consistency is not None:
            raise UsageError("--consistency is for sound", "leave it out")
        what = (inputs, priors or (), sources, weights, out, filename, samples, sampler, given)
        separate_images(ImageRequest(*what, seed, device, overwrite, resume, as_json, quiet))
        return
    card = compose(card, priors or (), weights, sources, rest)
    if image is not None:
        raise UsageError(f"{image} is an image, and {card.name} is for audio", _image_priors())
    files = words.collect(inputs)
    if "draws" in given and (samples > 1 or consistency == "none"):
        other = "--samples keeps every draw" if samples > 1 else "--consistency none is one draw"
        raise UsageError(f"draws are made one set of stems, but {other}", "leave out one of them")
    for_stream, for_engine = split_settings(given, card)
    jobs, failed = _plan(files, out, template, card, samples, container)
    todo = words.to_do(jobs, overwrite=overwrite, resume=resume)

    separator, made_with = load(card, prior, device=device, sampler=sampler, settings=for_engine)
    chosen = consistency_for(separator, consistency)
    streaming = stream_settings(for_stream, consistency=chosen, samples=samples)
    made_with |= {"seed": seed, "stream": asdict(streaming)}
    todo = refuse_unlike(jobs, todo, made_with, overwrite)
    records = [_skipped(job) for job in jobs if job not in todo]
    for number, job in enumerate(todo, 1):
        try:
            title = job.track if len(todo) == 1 else f"{job.track} ({number}/{len(todo)})"
            report = _separate(job, separator, streaming, seed, container, overwrite, title, quiet)
            records.append(_record(job, report, made_with, quiet))
            if not as_json:
                console.emit(
                    f"{job.stems[0][0].parent}: {', '.join(separator.names)}"
                    f"  ({report.seconds:.1f} s in {report.elapsed:.1f} s)"
                )
                if line := summary(report):
                    console.emit(line)
        except SepError as error:
            if len(files) == 1 or isinstance(error, UsageError | PriorError):
                raise  # the other mixtures would fail alike
            failed[job.source] = error
    finish("tracks", records, failed, as_json, len(files))


def _image_priors() -> str:
    """Return the hint that names the bundled priors of images; which one fits, only the user knows."""
    from sepcli.catalog import index, resolve

    found = [name for name in index.names() if resolve.find(name)[0].medium == "image"]
    return f"choose one with --prior: {', '.join(found)}, or a folder"


def _plan(
    files: Sequence[Path], out: Path, template: str, card: Card, samples: int, container: Format | None
) -> tuple[list[Job], dict[Path, SepError]]:
    """Open every input once; those that cannot be read fail now, before anything is computed."""
    from sepcli.cli import inputs as words
    from sepcli.media.audio import AudioReader
    from sepcli.media.stems import stem_format

    jobs: list[Job] = []
    failed: dict[Path, SepError] = {}
    for file in files:
        try:
            with AudioReader(file) as reader:
                extension = stem_format(reader.info, container.value if container else None).extension
            jobs.append(words.plan(file, out, template, card.sources, samples, extension, card.name))
        except SepError as error:
            if len(files) == 1 or isinstance(error, OutputError):
                raise
            failed[file] = error
    words.refuse_collisions(jobs)
    return jobs, failed


def _separate(
    job: Job,
    separator: Separator,
    streaming: StreamSettings,
    seed: int,
    container: Format | None,
    overwrite: bool,
    title: str,
    quiet: bool,
) -> StreamReport:
    from contextlib import ExitStack

    from sepcli.media.audio import AudioReader
    from sepcli.media.stems import StemWriter
    from sepcli.separation.stream import separate_stream

    wanted: Literal["wav", "flac"] | None = container.value if container else None
    with ExitStack() as stack:
        reader = stack.enter_context(AudioReader(job.source))
        writers = [
            stack.enter_context(StemWriter(paths, reader.info, container=wanted, overwrite=overwrite))
            for paths in job.stems
        ]
        on_progress = stack.enter_context(console.progress(title, quiet))
        stack.enter_context(enough_memory(job.source, "ask for less: --set batch=1, fewer draws"))
        report = separate_stream(
            reader,
            writers,
            separator,
            streaming,
            seed,
            lambda done, total: on_progress(round(done), round(total)),
        )
    for stems in report.sets:
        for stem in stems:
            if stem.silent and not report.silent:
                console.warn(f"{job.track}: the stem {stem.name} is silent")
            if stem.equals_mixture:
                console.warn(f"{job.track}: the stem {stem.name} equals the mixture")
    return report


def _record(job: Job, report: StreamReport, run: Mapping[str, Any], quiet: bool) -> dict[str, Any]:
    """Write run.json: all that is needed to repeat and to judge the run."""
    from importlib.metadata import version

    libraries = ["torch", "numpy", "soundfile", "soxr"]
    libraries += ["librosa", "scipy", "scikit-learn"] if run["prior"] is None else []
    versions = {name: version(name) for name in libraries}
    record = {
        "input": str(job.source),
        "stems": [[str(path) for path in paths] for paths in job.stems],
        **run,
        **describe(report, run["seed"]),
        "versions": {"sepcli": __version__, **versions},
        "report": {key: value for key, value in asdict(report).items() if key != "draws"},
    }
    return replace_record(job, record, quiet)


def _skipped(job: Job) -> dict[str, Any]:
    return {
        "input": str(job.source),
        "stems": [[str(path) for path in paths] for paths in job.stems],
        "skipped": True,
    }
