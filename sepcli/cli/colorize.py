"""``sepcli colorize``: gray images in, colorizations out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sepcli.cli.fetch import fetch_if_new
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.catalog.card import Card
    from sepcli.cli.inputs import Job
    from sepcli.priors.images.colorizer import Colorizer

DEFAULT_PRIOR = "cifar10"


class Gray(StrEnum):
    """What ``--gray`` takes."""

    AUTO = "auto"
    LUMA = "luma"
    MEAN = "mean"


def colorize(
    inputs: Annotated[list[str], typer.Argument(help="Images; folders of them, or globs.")],
    prior: Annotated[str, typer.Option(help="Name or folder of a prior of color images.")] = DEFAULT_PRIOR,
    gray: Annotated[
        Gray,
        typer.Option(
            help="What the gray is of red, green and blue: luma, as in photographs; mean; auto: what the file"
            " says, else luma."
        ),
    ] = Gray.AUTO,
    hint: Annotated[
        Path | None,
        typer.Option(help="An image of the input's size: strokes of color on transparency, to be kept to."),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the colorizations.")] = Path(
        "colorized"
    ),
    filename: Annotated[
        str | None,
        typer.Option(
            help="Template with {track} {stem} {ext} {sample} {prior}; default {track}/colorized.{ext},"
            " {track}/{sample}.{ext} for several."
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="So many posterior draws, with their mean and standard deviation.")
    ] = 1,
    sampler: Annotated[
        str | None,
        typer.Option(help="projected, halving, langevin or multi-source; the prior's own if not given."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting of sampler or hints, such as steps=100 or hint_sigma=0.1; repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same colors.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Skip images that are finished.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes.")] = False,
) -> None:
    """Color gray images; the results keep size, transparency, bit depth and, to one level, the gray."""
    from sepcli.catalog import card as cards
    from sepcli.catalog import resolve as catalog
    from sepcli.cli.image_jobs import plan_images, run_images
    from sepcli.cli.inputs import to_do
    from sepcli.cli.resume import refuse_unlike
    from sepcli.cli.settings import parse_settings

    fetch_if_new([prior], quiet)
    card, _ = catalog.find(prior)  # a misspelt name is answered before torch is imported
    given = parse_settings(settings or [])
    template = filename or ("{track}/{stem}.{ext}" if samples == 1 else "{track}/{sample}.{ext}")
    jobs = plan_images(inputs, out, template, ["colorized"], samples, card.name)
    if hint is not None and len(jobs) > 1:
        raise UsageError(f"one --hint for {len(jobs)} images", "color the images one by one")
    todo = to_do(jobs, overwrite=overwrite, resume=resume)

    from sepcli.cli.colorization import Colorization, color
    from sepcli.cli.device import choose_device
    from sepcli.media.grayscale import DEFAULT
    from sepcli.priors.images.colorizer import load_colors
    from sepcli.signal.chroma import GRAYS

    place = str(choose_device(device))
    asked = None if gray is Gray.AUTO else gray.value
    colorizer = load_colors(prior, GRAYS[asked or DEFAULT], device=place, sampler=sampler, settings=given)
    made_with = {**_made_with(card, colorizer, place), "gray_asked": gray.value}
    made_with |= {} if asked is None else {"gray": asked, "weights": list(GRAYS[asked])}
    made_with |= {"seed": seed, "samples": samples, "evaluations": colorizer.separator().evaluations}
    digest = cards.sha256(hint) if hint is not None and hint.is_file() else None
    made_with |= {"hint": None if hint is None else str(hint), "hint_sha256": digest}
    todo = refuse_unlike(jobs, todo, made_with, overwrite)
    task = Colorization(colorizer, asked, hint, samples, seed, overwrite, quiet, made_with)
    grays: dict[Path, str] = {}

    def color_one(job: Job) -> dict[str, Any]:
        record = color(job, task)
        grays[job.source] = f"gray: {record['gray']}, {record['gray_from']}"
        return record

    def told(job: Job) -> str:
        made = job.stems[0][0].name if samples == 1 else f"{samples} draws, mean, standard deviation"
        return f"{job.stems[0][0].parent}: {made}, {job.sheet.name if job.sheet else ''}; {grays[job.source]}"

    run_images(jobs, todo, color_one, told, as_json)


def _made_with(card: Card, colorizer: Colorizer, place: str) -> dict[str, Any]:
    return {
        "prior": card.name,
        "files": {name: entry.sha256 for name, entry in card.files.items()},
        **colorizer.describe(),
        "device": place,
    }
