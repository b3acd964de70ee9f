"""``sepcli colorize``: grey pictures in, colourings out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sepcli.cli.fetch import fetch_if_new
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.catalog.card import Card
    from sepcli.catalog.colours import Colourist
    from sepcli.cli.inputs import Job

DEFAULT_PRIOR = "cifar10"


class Grey(StrEnum):
    """What ``--grey`` takes."""

    AUTO = "auto"
    LUMA = "luma"
    MEAN = "mean"


def colorize(
    inputs: Annotated[list[str], typer.Argument(help="Pictures; folders of them, or globs.")],
    prior: Annotated[str, typer.Option(help="Name or folder of a prior of colour pictures.")] = DEFAULT_PRIOR,
    grey: Annotated[
        Grey,
        typer.Option(
            help="What the grey is of red, green and blue: luma, as in photographs; mean; auto: what the file"
            " says, else luma."
        ),
    ] = Grey.AUTO,
    hint: Annotated[
        Path | None,
        typer.Option(help="A picture of the input's size: strokes of colour on transparency, to be kept to."),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the colourings.")] = Path("coloured"),
    filename: Annotated[
        str | None,
        typer.Option(
            help="Template with {track} {stem} {ext} {sample} {prior}; default {track}/coloured.{ext},"
            " {track}/{sample}.{ext} for several."
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="So many posterior draws, with their mean and deviation.")
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
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same colours.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Skip pictures that are finished.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes.")] = False,
) -> None:
    """Colour grey pictures; the results keep size, transparency, bit depth and, to one level, the grey."""
    from sepcli.catalog import card as cards
    from sepcli.cli.earlier import refuse_unlike
    from sepcli.cli.inputs import to_do
    from sepcli.cli.picture_jobs import plan_pictures, run_pictures
    from sepcli.cli.settings import parse_settings

    fetch_if_new([prior], quiet)
    card, _ = cards.find(prior)  # a misspelt name is answered before torch is imported
    given = parse_settings(settings or [])
    template = filename or ("{track}/{stem}.{ext}" if samples == 1 else "{track}/{sample}.{ext}")
    jobs = plan_pictures(inputs, out, template, ["coloured"], samples, card.name)
    if hint is not None and len(jobs) > 1:
        raise UsageError(f"one --hint for {len(jobs)} pictures", "colour the pictures one by one")
    todo = to_do(jobs, overwrite=overwrite, resume=resume)

    from sepcli.catalog.colours import load_colours
    from sepcli.cli.colourings import Colouring, colour
    from sepcli.cli.device import choose_device
    from sepcli.colouring import GREYS
    from sepcli.media.grey import USUAL

    place = str(choose_device(device))
    asked = None if grey is Grey.AUTO else grey.value
    colourist = load_colours(prior, GREYS[asked or USUAL], device=place, sampler=sampler, settings=given)
    made_with = {**_made_with(card, colourist, place), "grey_asked": grey.value}
    made_with |= {} if asked is None else {"grey": asked, "weights": list(GREYS[asked])}
    made_with |= {"seed": seed, "samples": samples, "evaluations": colourist.separator().evaluations}
    digest = cards.sha256(hint) if hint is not None and hint.is_file() else None
    made_with |= {"hint": None if hint is None else str(hint), "hint_sha256": digest}
    todo = refuse_unlike(jobs, todo, made_with, overwrite)
    task = Colouring(colourist, asked, hint, samples, seed, overwrite, quiet, made_with)
    greys: dict[Path, str] = {}

    def colour_one(job: Job) -> dict[str, Any]:
        record = colour(job, task)
        greys[job.source] = f"grey: {record['grey']}, {record['grey_from']}"
        return record

    def told(job: Job) -> str:
        made = job.stems[0][0].name if samples == 1 else f"{samples} draws, mean, deviation"
        return f"{job.stems[0][0].parent}: {made}, {job.sheet.name if job.sheet else ''}; {greys[job.source]}"

    run_pictures(jobs, todo, colour_one, told, as_json)


def _made_with(card: Card, colourist: Colourist, place: str) -> dict[str, Any]:
    return {
        "prior": card.name,
        "files": {name: entry["sha256"] for name, entry in card.files.items()},
        "sampler": colourist.sampler,
        "settings": {**colourist.settings, "hint_sigma": colourist.hint_sigma},
        "device": place,
    }
