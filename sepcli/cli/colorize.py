"""``sepcli colorize``: grayscale images in, colorizations out."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sepcli.cli import console
from sepcli.cli import options as shared
from sepcli.cli.fetch import fetch_if_new
from sepcli.errors import UsageError
from sepcli.samplers import names as sampler_names

DEFAULT_PRIOR = "cifar10"


class Gray(StrEnum):
    """What ``--gray`` takes."""

    AUTO = "auto"
    LUMA = "luma"
    MEAN = "mean"


def colorize(
    inputs: Annotated[list[str], typer.Argument(help="Images, folders of them, or glob patterns.")],
    prior: Annotated[
        str,
        typer.Option(
            rich_help_panel=shared.MODEL,
            help="Name or folder of a prior of color images; module.py:object takes an object of a Python"
            " file, which is executed.",
        ),
    ] = DEFAULT_PRIOR,
    gray: Annotated[
        Gray,
        typer.Option(
            rich_help_panel=shared.MODEL,
            help="How the gray was computed from red, green and blue: luma, as in photographs; mean; auto,"
            " as the file says, else luma.",
        ),
    ] = Gray.AUTO,
    hint: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=shared.MODEL,
            help="Image of the input's size with strokes of color on transparency, which are kept.",
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=shared.MODEL,
            help=f"Sampler: {', '.join(sampler_names('signal'))}. Default: the prior's.",
        ),
    ] = None,
    settings: shared.Set = None,
    samples: shared.Samples = 1,
    seed: shared.Seed = 0,
    device: shared.Device = "auto",
    out: Annotated[
        Path, typer.Option("-o", "--out", rich_help_panel=shared.FILES, help="Folder for the images.")
    ] = Path("colorized"),
    filename: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=shared.FILES,
            help="Template of file names with {track} {stem} {ext} {sample} {prior}. Default:"
            " {track}/colorized.{ext}, {track}/{sample}.{ext} for several samples.",
        ),
    ] = None,
    overwrite: shared.Overwrite = False,
    resume: shared.Resume = False,
    as_json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Colorize grayscale images.

    Size, transparency, bit depth and, up to one level, the gray are kept.
    """
    from sepcli.cli.colorize_images import Colorization
    from sepcli.cli.inputs import collect
    from sepcli.cli.jobs import Batch, Options, run_batch
    from sepcli.cli.outputs import Layout, check_template
    from sepcli.cli.separators import choose_colorizer
    from sepcli.cli.settings import parse_settings

    fetch_if_new([prior], quiet)
    kind = None if gray is Gray.AUTO else gray.value
    choice = choose_colorizer(prior, kind, sampler, parse_settings(settings or []), device)
    template = filename or ("{track}/{stem}.{ext}" if samples == 1 else "{track}/{sample}.{ext}")
    check_template(template, samples, stems=1)
    work = Colorization(
        choice=choice,
        layout=Layout(out, template, choice.names, samples, choice.prior, images=True),
        gray=kind,
        hint=hint,
        seed=seed,
        overwrite=overwrite,
        quiet=quiet,
    )
    files = collect(inputs, ("image",), partial(console.note, quiet=quiet))
    if hint is not None and len(files) > 1:
        raise UsageError(f"one --hint for {len(files)} images", "colorize the images one by one")
    run_batch(Batch(dict.fromkeys(files, work)), Options(overwrite, resume, as_json, quiet))
