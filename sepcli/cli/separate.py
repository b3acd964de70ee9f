"""``sepcli separate``: mixtures in, stems out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sepcli.cli import console
from sepcli.cli import options as shared
from sepcli.cli.fetch import fetch_if_new
from sepcli.cli.resolve import DEFAULT_PRIOR, Method, engine_of, fitting_images
from sepcli.cli.separators import Choice, SeparatorOptions, choose
from sepcli.cli.settings import CONSISTENCY, Consistency, Format, parse_settings
from sepcli.errors import InputError, SepError, UsageError
from sepcli.samplers import names as sampler_names

if TYPE_CHECKING:
    from sepcli.cli.jobs import Batch, Work
    from sepcli.cli.outputs import Layout
    from sepcli.media import MediumName


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
            " a single source: one per source, or one and --other. module.py:object takes an object of a"
            " Python file, which is executed.",
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
            help=f"Sampler: of score {', '.join(sampler_names('signal'))}; of lass"
            f" {', '.join(sampler_names('token'))}. Default: the prior's.",
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
    from sepcli.cli.inputs import collect, medium_of
    from sepcli.cli.jobs import Options, run_batch

    fetch_if_new(priors or (), quiet)
    engine, sampler = engine_of(method, sampler)
    given = parse_settings(settings or [])
    options = SeparatorOptions(engine, weights, sources, sampler, given, samples, other)
    choices: dict[MediumName, Choice] = {}
    if priors or (engine is not None and engine.is_baseline):
        chosen = choose(priors or (), options, device)
        choices[chosen.medium] = chosen
    _check(container, consistency, given, samples, only_images=[*choices] == ["image"])
    only = next(iter(choices), None)
    paths = collect(inputs, ("audio", "image"), partial(console.note, quiet=quiet))
    media = {path: medium_of(path) or only or "audio" for path in paths}
    if only is None:
        choices = _defaults({*media.values()}, options, device)
    layouts = {medium: _layout(out, filename, choice, samples) for medium, choice in choices.items()}
    works: dict[MediumName, Work] = {}
    if audio := choices.get("audio"):
        from sepcli.cli.separate_audio import AudioSeparation

        works["audio"] = AudioSeparation(
            audio, layouts["audio"], consistency, container, seed, overwrite, quiet
        )
    if image := choices.get("image"):
        from sepcli.cli.separate_images import ImageSeparation

        works["image"] = ImageSeparation(image, layouts["image"], seed, overwrite, quiet)
    fitting = fitting_images() if only else fitting_images(engine, sampler)
    run_batch(_assign(media, works, only, fitting), Options(overwrite, resume, as_json, quiet))


def _check(
    container: Format | None,
    consistency: Consistency | None,
    given: Mapping[str, str],
    samples: int,
    only_images: bool,
) -> None:
    """Refuse options that are for the other medium, or contradict each other.

    Raises:
        UsageError: there is one.
    """
    for option, present in (("--format", container), ("--consistency", consistency)):
        if present is not None and only_images:
            raise UsageError(f"{option} is for audio, and the prior is for images", "leave it out")
    if "samples" in given:
        raise UsageError("--set samples is ambiguous", "use --samples, or --set draws for one set of stems")
    if "draws" in given and (samples > 1 or consistency == "none"):
        other = "--samples keeps every sample" if samples > 1 else "--consistency none is one sample"
        raise UsageError(f"--set draws averages the samples, but {other}", "leave out one of them")


def _defaults(media: Set[MediumName], options: SeparatorOptions, device: str) -> dict[MediumName, Choice]:
    """Choose the default prior of every medium that has one: of images, the only bundled one that fits."""
    choices: dict[MediumName, Choice] = {}
    if "audio" in media:
        choices["audio"] = choose((DEFAULT_PRIOR,), options, device)
    if "image" in media and len(fitting := fitting_images(options.method, options.sampler)) == 1:
        choices["image"] = choose(fitting, options, device)
    return choices


def _layout(out: Path, filename: str | None, choice: Choice, samples: int) -> Layout:
    """Return how the outputs of a medium are named.

    Raises:
        UsageError: ``--filename`` cannot name them all.
    """
    from sepcli.cli.outputs import Layout, check_template

    default = "{track}/{stem}.{ext}" if samples == 1 else "{track}/{sample}/{stem}.{ext}"
    check_template(filename or default, samples, len(choice.names))
    return Layout(out, filename or default, choice.names, samples, choice.prior, choice.medium == "image")


def _assign(
    media: Mapping[Path, MediumName],
    works: Mapping[MediumName, Work],
    only: MediumName | None,
    fitting: Sequence[str],
) -> Batch:
    """Give every input the work of its medium; inputs of a medium without one have failed.

    Args:
        media: of the inputs.
        works: medium → work.
        only: the medium that the options are for.
        fitting: names of priors of images to choose from.

    Raises:
        UsageError: no input has a work.
    """
    from sepcli.cli.jobs import Batch

    nouns = {"audio": "audio", "image": "an image"}
    failed: dict[Path, SepError] = {}
    for path, medium in media.items():
        if medium not in works:
            reason = (
                "the prior is for " + ("audio" if only == "audio" else "images")
                if only
                else "there is no --prior for images"
            )
            advice = "choose a --prior for audio, or none"
            if medium == "image":
                advice = f"choose one with --prior: {', '.join(fitting)}, or a folder"
            failed[path] = InputError(f"{path} is {nouns[medium]}, and {reason}", advice)
    if len(failed) == len(media):
        first = next(iter(failed.values()))
        raise UsageError(first.message, first.hint)
    return Batch({path: works[medium] for path, medium in media.items() if medium in works}, failed)
