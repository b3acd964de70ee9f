"""``sepcli colorize``: grayscale images in, colorizations out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sepcli.cli import options as shared
from sepcli.cli.fetch import fetch_if_new
from sepcli.errors import UsageError

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
        typer.Option(rich_help_panel=shared.MODEL, help="Name or folder of a prior of color images."),
    ] = DEFAULT_PRIOR,
    gray: Annotated[
        Gray,
        typer.Option(
            rich_help_panel=shared.MODEL,
            help="How the gray was made of red, green and blue: luma, as in photographs; mean; auto, as the"
            " file says, else luma.",
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
            help="Sampler: projected, halving, langevin or multi-source. Default: the prior's.",
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
    from sepcli.cli.settings import parse_settings
    from sepcli.priors.select import choose

    fetch_if_new([prior], quiet)
    given = parse_settings(settings or [])
    chosen = choose(prior, colorize=(1 / 3,) * 3, sampler=sampler, settings=given, samples=samples)
    template = filename or ("{track}/{stem}.{ext}" if samples == 1 else "{track}/{sample}.{ext}")
    check_template(template, samples, stems=1)
    work = Colorization(
        chosen=chosen,
        layout=Layout(out, template, ("colorized",), samples, chosen.prior, images=True),
        gray=None if gray is Gray.AUTO else gray.value,
        hint=hint,
        device=device,
        seed=seed,
        overwrite=overwrite,
        quiet=quiet,
    )
    files = collect(inputs, ("image",))
    if hint is not None and len(files) > 1:
        raise UsageError(f"one --hint for {len(files)} images", "colorize the images one by one")
    run_batch(Batch(dict.fromkeys(files, work)), Options(overwrite, resume, as_json, quiet))
