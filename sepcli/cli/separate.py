"""``sepcli separate``: mixtures in, stems out."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sepcli.cli import completion, console
from sepcli.cli.fetch import fetch_if_new
from sepcli.cli.options import NO_INPUT, BatchOptions, Quality, files, model, takes, template
from sepcli.cli.resolve import (
    SONG_PRIOR,
    Choice,
    Method,
    SeparatorOptions,
    default_prior,
    engine_of,
    fitting_images,
)
from sepcli.cli.separators import choose
from sepcli.cli.settings import (
    CONSISTENCY,
    AudioFormat,
    BitDepth,
    Consistency,
    Format,
    parse_settings,
    refuse_other_format,
)
from sepcli.errors import InputError, UsageError
from sepcli.samplers import names as sampler_names

if TYPE_CHECKING:
    from sepcli.cli.inputs import Inputs
    from sepcli.cli.replay import Replay
    from sepcli.cli.work import Work
    from sepcli.media import MediumName

AUTO = "auto"
"""The prior that is chosen among the installed ones."""
TEMPLATES = ("{folder}/{track}/{stem}.{ext}", "{folder}/{track}/{sample}/{stem}.{ext}")
TOGETHER = ("{folder}/{track}.{ext}", "{folder}/{track}.{sample}.{ext}")
"""The default templates of a file that holds all stems."""


@dataclass(frozen=True, kw_only=True)
class SeparateOptions(BatchOptions):
    """Arguments and options of ``sepcli separate``."""

    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Audio files and images, folders of them, or glob patterns; - is stdin."),
    ] = None
    priors: Annotated[
        list[str] | None,
        model(
            f"Name or folder of a prior; of audio {SONG_PRIOR} if not given. Repeat it for priors of a"
            " single source: one per source, or one and --other. auto ranks the installed priors and pairs by"
            " how well they explain the first input. module.py:object takes an object of a Python"
            " file, which is executed.",
            "--prior",
            autocompletion=completion.priors,
        ),
    ] = None
    other: Annotated[
        bool,
        model(
            "Add a stem `other` for everything the priors do not model; --set other=0.5 is its expected share"
            " of the mixture. Audio only.",
            "--other",
        ),
    ] = False
    sources: Annotated[
        int | None, model("Number of sources of an image. Default: 2, or one per prior.", min=2, max=256)
    ] = None
    weights: Annotated[
        str | None,
        model(
            "Weights of the sources in the mixture, for example 0.5,0.5. The weight of `other` is last;"
            " default: same as the others. Default: equal weights, of sum 1 for images, 1 each for audio."
        ),
    ] = None
    method: Annotated[
        Method | None,
        model(
            "Engine of the prior (lass, score, variational), or a baseline without a prior. Default: inferred"
            " from --sampler and --other, else the prior's default."
        ),
    ] = None
    sampler: Annotated[
        str | None,
        model(
            f"Sampler: of score {', '.join(sampler_names('signal'))}; of lass"
            f" {', '.join(sampler_names('token'))}. Default: the prior's.",
            autocompletion=completion.samplers,
        ),
    ] = None
    out: Annotated[
        Path, files("Folder for the stems; - is stdout, for one stem with --only.", "-o", "--out")
    ] = Path("separated")
    filename: Annotated[str | None, template(*TEMPLATES)] = None
    container: Annotated[
        Format | None,
        files(
            "Format of the stems. Default: png, and for audio the input's if it is lossless. stem.mp4: one"
            " file TRACK.stem.mp4 for DJ software and DAWs, with the mixture and its stems as stereo tracks"
            " in AAC; such software demands four stems, fewer are filled up with silent ones.",
            "--format",
        ),
    ] = None
    quality: Quality = 95
    bitrate: Annotated[
        int | None,
        files(
            "Kilobits per second of mp3 [320], ogg [192], opus [160], m4a [256] or each track of stem.mp4"
            " [256].",
            min=8,
            max=2000,
        ),
    ] = None
    bit_depth: Annotated[
        BitDepth | None, files("Bits per sample of wav or flac, 32f: floating point. Default: the input's.")
    ] = None
    consistency: Annotated[Consistency | None, files(CONSISTENCY)] = None
    only: Annotated[
        list[str] | None,
        files(
            "Write only this stem, for example drums; repeatable. It saves disk space, and no time.",
            "--only",
            metavar="STEM",
        ),
    ] = None
    two_stems: Annotated[
        str | None, files("Write this stem, and the sum of the others as no_STEM.", metavar="STEM")
    ] = None
    start: Annotated[
        str | None, files("Start of the part to separate, in seconds or as 1:30.", metavar="TIME")
    ] = None
    length: Annotated[
        str | None, files("Length of the part to separate, in seconds or as 1:30.", metavar="TIME")
    ] = None


@takes(SeparateOptions)
def separate(options: SeparateOptions) -> None:
    """Separate mixtures into their sources.

    Audio stems keep rate, channels, bit depth and length, and sum to the mixture.
    """
    from sepcli.cli.pipes import pipes
    from sepcli.cli.replay import open_replay

    replay = open_replay(options, "separate")
    if replay is None:
        if not options.dry_run:
            fetch_if_new(options.priors or (), options.quiet)
        with pipes(options) as stored:
            _separate(_with_prior(stored))
    else:
        _separate(_recorded(replay, options), replay)
        replay.conclude(options.as_json or options.quiet)


def _with_prior(options: SeparateOptions) -> SeparateOptions:
    """Return the options with the priors that ``--prior auto`` chooses."""
    if AUTO not in (options.priors or ()):
        return options
    if options.priors != [AUTO] or options.other or options.weights is not None:
        raise UsageError(
            f"--prior {AUTO} chooses priors and sources", "give it alone, without --other and --weights"
        )
    if not options.inputs:
        raise UsageError(*NO_INPUT)
    from sepcli.cli.auto_prior import auto_prior

    return replace(options, priors=list(auto_prior(options.inputs, options.out, options.quiet)))


def _separate(options: SeparateOptions, replay: Replay | None = None) -> None:
    """Separate the inputs, with priors that have been fetched."""
    from sepcli.cli.inputs import collect, medium_of
    from sepcli.cli.jobs import Batch, run_batch

    if not options.inputs:
        raise UsageError(*NO_INPUT)
    wanted = _wanted(options)
    choices: dict[MediumName, Choice] = {}
    if options.priors or (wanted.method is not None and wanted.method.is_baseline):
        chosen = choose(options.priors or (), wanted)
        choices[chosen.medium] = chosen
    only = next(iter(choices), None)
    for option, value in (
        ("--bitrate", options.bitrate),
        ("--bit-depth", options.bit_depth),
        ("--consistency", options.consistency),
        ("--only", options.only),
        ("--two-stems", options.two_stems),
        ("--start", options.start),
        ("--length", options.length),
    ):
        if value is not None and only == "image":
            raise UsageError(f"{option} is for audio, and the prior is for images", "leave it out")
    say = partial(console.note, quiet=options.quiet)
    inputs = collect(options.inputs, ("audio", "image"), options.out, say)
    media = {path: medium_of(path) or only or "audio" for path in inputs.folders}
    if only is None:
        choices = _defaults({*media.values()}, wanted, options)
    others = [path for path in inputs.searched if media[path] not in choices]
    if len(others) < len(media):  # other media in folders are passed over, if they are not all there is
        for path in others:
            del media[path], inputs.folders[path]
        reason = "there is no default prior for images" if only is None else f"the prior is for {only}"
        _note_others(others, inputs, lambda note: say(f"{note} ({reason})"))
    works = {medium: _work(choice, options) for medium, choice in choices.items()}
    inputs.failed.update(
        (path, _without_work(path, medium, only, wanted))
        for path, medium in media.items()
        if medium not in works
    )
    if media and {*media} <= {*inputs.failed}:
        first = inputs.failed[next(iter(media))]
        raise UsageError(first.message, first.hint)
    given = {path: works[medium] for path, medium in media.items() if medium in works}
    run_batch(Batch.of(inputs, given, options, replay))


def _note_others(others: Sequence[Path], inputs: Inputs, say: Callable[[str], None]) -> None:
    """Say which files of another medium are passed over, folder by folder."""
    from sepcli.media.folders import passed_over

    for folder in dict.fromkeys(inputs.searched[path] for path in others):
        for note in passed_over(folder, [path for path in others if inputs.searched[path] == folder]):
            say(note)


def _recorded(replay: Replay, options: SeparateOptions) -> SeparateOptions:
    """Return the options of a recorded run.

    Raises:
        InputError: the record has values that no option has, or the input is missing.
        UsageError: see ``Replay.priors``.
    """
    record, priors = replay.record, replay.priors(options.priors)
    kept, stream = record.options, record.stream if isinstance(record.stream, dict) else {}
    return replace(
        options,
        inputs=replay.input(options.inputs or ()),
        priors=priors or None,
        other=kept.other is True,
        weights=replay.weights(priors),
        method=replay.choice(Method, record.engine),
        container=replay.choice(Format, kept.container) if kept.container else None,
        bitrate=kept.bitrate // 1000 if kept.bitrate else None,
        bit_depth=kept.bit_depth or None,
        consistency=replay.choice(Consistency, stream["consistency"]) if stream else None,
        only=list(kept.only) if kept.only else None,
        two_stems=kept.two_stems or None,
        start=f"{kept.start:.12f}" if kept.start else None,
        length=f"{kept.length:.12f}" if kept.length else None,
        **replay.options(options.device),
    )


def _wanted(options: SeparateOptions) -> SeparatorOptions:
    """Return what is wanted of the separator; of ``--consistency none`` the bare first sample, no average.

    Raises:
        UsageError: options contradict each other.
    """
    method, sampler = engine_of(options.method, options.sampler)
    settings = parse_settings(options.settings or ())
    samples, consistency = options.samples, options.consistency
    if "samples" in settings:
        raise UsageError("--set samples is ambiguous", "use --samples, or --set draws for one set of stems")
    if "draws" in settings and (samples > 1 or consistency == "none"):
        other = "--samples keeps every sample" if samples > 1 else "--consistency none is one sample"
        raise UsageError(f"--set draws averages the samples, but {other}", "leave out one of them")
    if consistency is not None:
        settings["consistency"] = consistency.value
        settings |= {"samples": "1"} if consistency == "none" and samples == 1 else {}
    return SeparatorOptions(
        method, options.weights, options.sources, sampler, settings, samples, options.other, options.preset
    )


def _defaults(
    media: Set[MediumName], wanted: SeparatorOptions, options: SeparateOptions
) -> dict[MediumName, Choice]:
    """Choose the default prior of every medium that has one: of images, the only bundled one that fits."""
    choices: dict[MediumName, Choice] = {}
    if "audio" in media:
        choices["audio"] = choose((default_prior(wanted),), wanted)
    if "image" in media and len(fitting := fitting_images(wanted.method, wanted.sampler)) == 1:
        images = replace(wanted, settings=parse_settings(options.settings or ()))  # without --consistency
        choices["image"] = choose(fitting, images)
    return choices


def _work(choice: Choice, options: SeparateOptions) -> Work:
    from sepcli.cli.outputs import template_of

    form = None if options.container is None else str(options.container.value)
    refuse_other_format(form, choice.medium)
    if choice.medium == "image":
        from sepcli.cli.separate_images import image_work

        return image_work(
            choice, template_of(choice, options, TEMPLATES), options, form or "png", options.quality
        )
    from sepcli.cli.part import parse_part
    from sepcli.cli.separate_audio import audio_work
    from sepcli.media.stem_format import Encoding

    container = None if form is None else AudioFormat(form)
    bitrate = None if options.bitrate is None else 1000 * options.bitrate
    encoding = Encoding(
        None if container is None else container.value,
        bitrate,
        None if options.bit_depth is None else options.bit_depth.value,
    )
    part = parse_part(choice.names, options.only, options.two_stems, options.start, options.length)
    choice = replace(choice, names=part.written)
    together = container is AudioFormat.STEM_MP4
    if together and options.consistency is Consistency.NONE:
        raise UsageError(
            f"--format {form} holds stems that sum to the mixture, and --consistency none gives others",
            "leave out one of them",
        )
    template = template_of(choice, options, TOGETHER if together else TEMPLATES, together=together)
    return audio_work(choice, template, options, encoding, part)


def _without_work(
    path: Path, medium: MediumName, only: MediumName | None, wanted: SeparatorOptions
) -> InputError:
    """Return why an input fails of whose medium there is no prior; ``only`` is that of the given priors."""
    noun = "an image" if medium == "image" else "audio"
    reason = "there is no --prior for images"
    if only:
        reason = f"the prior is for {'audio' if only == 'audio' else 'images'}"
    advice = "choose a --prior for audio, or none"
    if medium == "image":
        fitting = fitting_images() if only else fitting_images(wanted.method, wanted.sampler)
        advice = f"choose one with --prior: {', '.join(fitting)}, or a folder"
    return InputError(f"{path} is {noun}, and {reason}", advice)
