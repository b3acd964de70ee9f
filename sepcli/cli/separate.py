"""``sepcli separate``: mixtures in, stems out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sepcli.cli import options as shared
from sepcli.cli.fetch import fetch_if_new
from sepcli.cli.resolve import DEFAULT_PRIOR, Baseline, Method, engine_of, find, fitting_images
from sepcli.cli.settings import CONSISTENCY, Consistency, parse_settings
from sepcli.errors import InputError, SepError, UsageError

if TYPE_CHECKING:
    from sepcli.cli.jobs import Batch, Options, Work
    from sepcli.cli.separate_audio import AudioSeparation
    from sepcli.cli.separate_images import ImageSeparation
    from sepcli.media import MediumName


class Format(StrEnum):
    """What ``--format`` takes."""

    WAV = "wav"
    FLAC = "flac"


@dataclass(frozen=True)
class Request:
    """The options that decide how a mixture is separated; see ``separate``."""

    priors: Sequence[str]
    other: bool
    sources: int | None
    weights: str | None
    method: Method | None
    out: Path
    filename: str | None
    consistency: Consistency | None
    samples: int
    sampler: str | None
    settings: Mapping[str, str]
    container: Format | None
    seed: int
    device: str


def separate(
    inputs: Annotated[
        list[str], typer.Argument(help="Audio files and images, folders of them, or glob patterns.")
    ],
    priors: Annotated[
        list[str] | None,
        typer.Option(
            "--prior",
            rich_help_panel=shared.MODEL,
            help=f"Name or folder of a prior; of audio {DEFAULT_PRIOR} if not given. Repeat it for priors of"
            " a single source: one per source, or one and --other.",
        ),
    ] = None,
    other: Annotated[
        bool,
        typer.Option(
            "--other",
            rich_help_panel=shared.MODEL,
            help="Add a stem `other` for everything the priors do not model; --set other=0.5 is its expected"
            " share of the mixture. Audio only.",
        ),
    ] = False,
    sources: Annotated[
        int | None,
        typer.Option(
            min=2,
            rich_help_panel=shared.MODEL,
            help="Number of sources of an image. Default: 2, or one per prior.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=shared.MODEL,
            help="Weights of the sources in the mixture, for example 0.5,0.5. The weight of `other` is last;"
            " default: same as the others. Default: equal weights, of sum 1 for images, 1 each for audio.",
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(
            rich_help_panel=shared.MODEL,
            help="Engine of the prior (lass, score, variational), or a baseline without a prior. Default:"
            " inferred from --sampler and --other, else the prior's default.",
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=shared.MODEL,
            help="Sampler: of score projected, halving, multi-source or langevin; of lass greedy,"
            " ancestral, top-k or beam. Default: the prior's.",
        ),
    ] = None,
    settings: shared.Set = None,
    samples: shared.Samples = 1,
    seed: shared.Seed = 0,
    device: shared.Device = "auto",
    out: Annotated[
        Path, typer.Option("-o", "--out", rich_help_panel=shared.FILES, help="Folder for the stems.")
    ] = Path("separated"),
    filename: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=shared.FILES,
            help="Template of file names with {track} {stem} {ext} {sample} {prior}. Default:"
            " {track}/{stem}.{ext}, {track}/{sample}/{stem}.{ext} for several samples.",
        ),
    ] = None,
    container: Annotated[
        Format | None,
        typer.Option(
            "--format", rich_help_panel=shared.FILES, help="Container of audio stems. Default: the input's."
        ),
    ] = None,
    consistency: Annotated[
        Consistency | None, typer.Option(rich_help_panel=shared.FILES, help=CONSISTENCY)
    ] = None,
    overwrite: shared.Overwrite = False,
    resume: shared.Resume = False,
    as_json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Separate mixtures into their sources.

    Audio stems keep rate, channels, bit depth and length, and sum to the mixture.
    """
    from sepcli.cli import inputs as files
    from sepcli.cli.jobs import Options, run_batch

    fetch_if_new(priors or (), quiet)
    method, sampler = engine_of(method, sampler)
    given = parse_settings(settings or [])
    request = Request(
        *(priors or (), other, sources, weights, method, out, filename, consistency),
        *(samples, sampler, given, container, seed, device),
    )
    only = _medium_of_priors(request)
    _check(request, only)
    media = {
        path: files.medium_of(path) or only or "audio" for path in files.collect(inputs, ("audio", "image"))
    }
    options = Options(overwrite, resume, as_json, quiet)
    run_batch(_assign(request, media, only, options), options)


def _medium_of_priors(request: Request) -> MediumName | None:
    """Return the medium that the given priors, or the baseline, are for; None if there is no such argument.

    Raises:
        PriorError: there is no such prior.
        UsageError: the priors are of both media.
    """
    from sepcli.catalog import resolve as catalog

    if request.method is not None and request.method.blind:
        return "audio"
    found: dict[MediumName, str] = {}
    for prior in request.priors:
        card, _ = catalog.find(prior)
        found.setdefault(card.medium, card.name)
    if len(found) > 1:
        raise UsageError(
            f"prior {found['audio']} is for audio, {found['image']} for images", "give priors of one medium"
        )
    return next(iter(found), None)


def _check(request: Request, only: MediumName | None) -> None:
    """Refuse options that are for the other medium.

    Raises:
        UsageError: there is one.
    """
    if only == "image":
        given = {
            "--format": request.container is not None,
            "--consistency": request.consistency is not None,
            "--other": request.other,
        }
        for option in (option for option, present in given.items() if present):
            raise UsageError(f"{option} is for audio, and the prior is for images", "leave it out")


def _assign(
    request: Request, media: Mapping[Path, MediumName], only: MediumName | None, options: Options
) -> Batch:
    """Choose the work for every input by its medium; inputs of a medium without a separator have failed.

    Raises:
        UsageError: the options do not fit the priors, or no input has a separator.
        PriorError: a prior is missing.
    """
    from sepcli.cli.jobs import Batch

    works: dict[MediumName, Work] = {}
    refused: dict[MediumName, tuple[str, str]] = {}
    for medium in dict.fromkeys(media.values()):
        refusal = _refusal(request, medium, only)
        if refusal is not None:
            refused[medium] = refusal
        else:
            works[medium] = _audio(request, options) if medium == "audio" else _images(request, options)
    noun = {"audio": "audio", "image": "an image"}
    failed: dict[Path, SepError] = {}
    for path, medium in media.items():
        if medium in refused:
            reason, hint = refused[medium]
            failed[path] = InputError(f"{path} is {noun[medium]}, and {reason}", hint)
    if not works:
        first = next(iter(failed.values()))
        raise UsageError(first.message, first.hint)
    return Batch({path: works[medium] for path, medium in media.items() if medium in works}, failed)


def _refusal(request: Request, medium: MediumName, only: MediumName | None) -> tuple[str, str] | None:
    """Return why inputs of a medium cannot be separated, and what to do; None if they can."""
    hint = "choose a --prior for audio, or none"
    if medium == "image":
        fitting = fitting_images(request.method, request.sampler) if only is None else fitting_images()
        if only is None and len(fitting) == 1:
            return None
        hint = f"choose one with --prior: {', '.join(fitting)}, or a folder"
    if only not in (None, medium):
        name = request.priors[0] if request.priors else f"--method {request.method}"
        return f"{name} is for {'audio' if only == 'audio' else 'images'}", hint
    return ("there is no --prior for images", hint) if (medium, only) == ("image", None) else None


def _audio(request: Request, options: Options) -> AudioSeparation:
    """Check what concerns audio, and return the work."""
    from sepcli.cli.outputs import Layout, check_template
    from sepcli.cli.separate_audio import AudioSeparation

    samples = request.samples
    chosen = find(
        request.method,
        request.priors,
        weights=request.weights,
        sources=request.sources,
        sampler=request.sampler,
        settings=request.settings,
        samples=samples,
        other=request.other,
    )
    if "draws" in request.settings and (samples > 1 or request.consistency == "none"):
        other = "--samples keeps every sample" if samples > 1 else "--consistency none is one sample"
        raise UsageError(f"draws are made one set of stems, but {other}", "leave out one of them")
    usual = "{track}/{stem}.{ext}" if samples == 1 else "{track}/{sample}/{stem}.{ext}"
    check_template(request.filename or usual, samples)
    return AudioSeparation(
        chosen=chosen,
        layout=Layout(request.out, request.filename or usual, chosen.names, samples, chosen.prior),
        device=request.device,
        consistency=request.consistency,
        container=None if request.container is None else request.container.value,
        seed=request.seed,
        overwrite=options.overwrite,
        quiet=options.quiet,
    )


def _images(request: Request, options: Options) -> ImageSeparation:
    """Check what concerns images, and return the work."""
    from sepcli.cli.separate_images import ImageSeparation, image_layout

    chosen = find(
        request.method,
        request.priors or fitting_images(request.method, request.sampler),
        weights=request.weights,
        sources=request.sources,
        sampler=request.sampler,
        settings=request.settings,
        samples=request.samples,
    )
    assert not isinstance(chosen, Baseline)  # these are of audio
    layout = image_layout(request.out, request.filename, chosen.names, request.samples, chosen.prior)
    return ImageSeparation(
        chosen=chosen,
        layout=layout,
        device=request.device,
        seed=request.seed,
        overwrite=options.overwrite,
        quiet=options.quiet,
    )
