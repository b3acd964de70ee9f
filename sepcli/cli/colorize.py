"""``sepcli colorize``: grayscale images in, colorizations out."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sepcli.cli import completion, console
from sepcli.cli.fetch import fetch_if_new
from sepcli.cli.options import NO_INPUT, BatchOptions, Quality, files, model, takes, template
from sepcli.cli.resolve import COLORIZE_PRIOR as DEFAULT_PRIOR
from sepcli.cli.settings import ImageFormat
from sepcli.errors import InputError, UsageError
from sepcli.samplers import names as sampler_names

if TYPE_CHECKING:
    from sepcli.cli.inputs import Inputs
    from sepcli.cli.replay import Replay

COARSE = (
    f"{DEFAULT_PRIOR} sees 32 x 32 pixels: it colors broad areas. Priors of 256 x 256 pixels are on the Hub:"
    " celebahq-256 (portraits), church-256; fetch-priors, then --prior"
)
"""What the default prior can do."""
TEMPLATES = ("{folder}/{track}/colorized.{ext}", "{folder}/{track}/{sample}.{ext}")


class Gray(StrEnum):
    """What ``--gray`` takes."""

    AUTO = "auto"
    LUMA = "luma"
    MEAN = "mean"


@dataclass(frozen=True, kw_only=True)
class ColorizeOptions(BatchOptions):
    """Arguments and options of ``sepcli colorize``."""

    inputs: Annotated[list[str] | None, typer.Argument(help="Images, folders of them, or glob patterns.")] = (
        None
    )
    prior: Annotated[
        str,
        model(
            "Name or folder of a prior of color images; module.py:object takes an object of a Python file,"
            " which is executed.",
            autocompletion=completion.priors,
        ),
    ] = DEFAULT_PRIOR
    gray: Annotated[
        Gray,
        model(
            "How the gray was computed from red, green and blue: luma, as in photographs; mean; auto, as the"
            " file says, else luma."
        ),
    ] = Gray.AUTO
    hint: Annotated[
        Path | None,
        model("Image of the input's size with strokes of color on transparency, which are kept."),
    ] = None
    sampler: Annotated[
        str | None,
        model(
            f"Sampler: {', '.join(sampler_names('signal'))}. Default: the prior's.",
            autocompletion=completion.samplers,
        ),
    ] = None
    out: Annotated[Path, files("Folder for the images.", "-o", "--out")] = Path("colorized")
    filename: Annotated[str | None, template(*TEMPLATES)] = None
    container: Annotated[ImageFormat, files("Format of the images.", "--format")] = ImageFormat.PNG
    quality: Quality = 95


@takes(ColorizeOptions)
def colorize(options: ColorizeOptions) -> None:
    """Colorize grayscale images.

    Size, transparency, bit depth and, up to one level, the gray are kept.
    """
    from sepcli.cli.replay import open_replay

    replay = open_replay(options, "colorize")
    if replay is None:
        if not options.dry_run:
            fetch_if_new([options.prior], options.quiet)
        _colorize(options)
    else:
        _colorize(_recorded(replay, options), replay)
        replay.conclude(options.as_json or options.quiet)


def _colorize(options: ColorizeOptions, replay: Replay | None = None) -> None:
    """Colorize the inputs, with a prior that has been fetched."""
    from sepcli.cli.colorize_images import colorizing_work
    from sepcli.cli.inputs import collect
    from sepcli.cli.jobs import Batch, run_batch
    from sepcli.cli.outputs import template_of
    from sepcli.cli.resolve import SeparatorOptions
    from sepcli.cli.separators import choose_colorizer
    from sepcli.cli.settings import parse_settings

    if not options.inputs:
        raise UsageError(*NO_INPUT)
    gray = None if options.gray is Gray.AUTO else options.gray.value
    settings = parse_settings(options.settings or ())
    wanted = SeparatorOptions(sampler=options.sampler, settings=settings, preset=options.preset)
    choice = choose_colorizer(options.prior, gray, wanted)
    named = template_of(choice, options, TEMPLATES)
    stored = (options.container.value, options.quality)
    work = colorizing_work(choice, named, options, stored, gray, options.hint)
    inputs = collect(options.inputs, ("image",), options.out, partial(console.note, quiet=options.quiet))
    _refuse_audio(inputs)
    if options.prior == DEFAULT_PRIOR and inputs.folders:
        console.note(COARSE, options.quiet)
    if options.hint is not None and len(inputs.folders) > 1:
        raise UsageError(f"one --hint for {len(inputs.folders)} images", "colorize the images one by one")
    run_batch(Batch.of(inputs, work, options, replay))


def _refuse_audio(inputs: Inputs) -> None:
    """Let the inputs that are audio fail.

    Raises:
        UsageError: all are.
    """
    from sepcli.cli.inputs import medium_of

    audio = [path for path in inputs.folders if medium_of(path) == "audio"]
    for path in audio:
        command = shlex.join(["sepcli", "separate", str(path)])
        inputs.failed[path] = InputError(f"{path} is audio, which has no colors", f"run: {command}")
    if audio and len(audio) == len(inputs.folders):
        first = inputs.failed[audio[0]]
        raise UsageError(first.message, first.hint)
    for path in audio:
        del inputs.folders[path]


def _recorded(replay: Replay, options: ColorizeOptions) -> ColorizeOptions:
    """Return the options of a recorded run.

    Raises:
        InputError: an input is missing or has changed.
        UsageError: see ``Replay.priors``.
    """
    record = replay.record
    priors = replay.priors(None if options.prior == DEFAULT_PRIOR else [options.prior])
    hint = None
    if isinstance(record.hint, str) and isinstance(record.hint_sha256, str):
        hint = replay.file(record.hint, record.hint_sha256, options.hint)
    return replace(
        options,
        inputs=replay.input(options.inputs or ()),
        prior=priors[0] if priors else DEFAULT_PRIOR,
        gray=replay.choice(Gray, record.options.gray),
        hint=hint,
        container=replay.choice(ImageFormat, record.options.container),
        **replay.options(options.device),
    )
