"""``sepcli build-likelihood``: count the likelihood table of a prior."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sepcli.cli import console
from sepcli.cli import options as shared
from sepcli.cli.settings import parse_settings
from sepcli.errors import UsageError
from sepcli.settings import parse

COUNTING = "Counting"
"""Panel of options in the help."""


def build_likelihood(
    prior: Annotated[
        Path,
        typer.Option("--prior", rich_help_panel=shared.MODEL, help="Folder of a prior with a trained codec."),
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            rich_help_panel=shared.FILES,
            help="Songs in Slakh2100's layout or MUSDB18; for a prior of images a folder of images or MNIST's"
            " files.",
        ),
    ],
    tokens: Annotated[
        int, typer.Option(min=1, rich_help_panel=COUNTING, help="Number of token triples to count.")
    ] = 20_000_000,
    time_budget: Annotated[
        str | None,
        typer.Option(rich_help_panel=COUNTING, help="Stop after this time at the latest: 90s, 1h."),
    ] = None,
    symmetric: Annotated[
        bool,
        typer.Option(
            "--symmetric",
            rich_help_panel=COUNTING,
            help="Count both orders of exchangeable sources; images always are.",
        ),
    ] = False,
    max_nonzeros: Annotated[
        int, typer.Option(min=1, rich_help_panel=COUNTING, help="Number of triples kept in the table.")
    ] = 2_000_000,
    merge: Annotated[
        list[Path] | None,
        typer.Option(
            "--merge",
            rich_help_panel=COUNTING,
            help="Add these counts, files or priors, instead of counting; repeatable.",
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            rich_help_panel=COUNTING,
            help="Change a setting; repeatable: pairs and chunk_tokens (counted at once), held_out (batches"
            " that the table is measured on), max_marginals, save_seconds.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, rich_help_panel=COUNTING, help="Seed of the pairs; shards need different ones."),
    ] = 0,
    device: shared.Device = "auto",
    cache: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=shared.FILES,
            help="Folder for decoded recordings and images. Default: PRIOR/cache.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel=shared.FILES, help="Add to the existing counts.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=shared.FILES, help="Replace the existing counts.")
    ] = False,
    as_json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Count p(mixture token | source tokens) over random pairs of clean sources."""
    from sepcli.cli.device import choose_device
    from sepcli.cli.train import parse_duration
    from sepcli.priors.lass import count as likelihood
    from sepcli.priors.lass.settings import CountSettings

    if resume and overwrite:
        raise UsageError("--resume and --overwrite contradict each other", "give one of them")
    given = {
        "tokens": tokens,
        "seconds": parse_duration(time_budget) if time_budget else None,
        "symmetric": symmetric,
        "max_nonzeros": max_nonzeros,
        "seed": seed,
    }
    more = parse_settings(options or ())
    if twice := given.keys() & more:
        raise UsageError(f"--set {min(twice)} duplicates an option", "use the option")
    settings = parse(CountSettings, {**given, **more})
    folder = cache or prior / "cache"
    if merge:
        summary = likelihood.merge(prior, merge, data, settings, folder, overwrite)
    else:
        with console.progress("count", quiet) as on_progress:
            summary = likelihood.count(
                prior,
                data,
                settings,
                cache=folder,
                device=choose_device(device),
                resume=resume,
                overwrite=overwrite,
                on_progress=on_progress,
            )
    if as_json:
        console.emit_json(summary)
    else:
        _show(summary)


def _show(summary: dict[str, Any]) -> None:
    rows = []
    for which in ("counted", "kept"):
        part, coverage = summary[which], summary[f"coverage_{which}"]
        rows.append(
            [
                which,
                f"{part['nonzeros']:,}",
                f"{part['density_percent']:.4f}",
                f"{part['bytes'] / 1e6:.1f}",
                *(f"{100 * coverage[key]:.1f}" for key in ("codes", "triples", "pairs")),
            ]
        )
    heads = ["table", "nonzeros", "density %", "MB", "codes %", "triples %", "pairs %"]
    caption = (
        f"{summary['tokens']:,} tokens counted; β = {summary['beta']:g}; "
        f"{summary['held_out_nats']:.3f} nats per held-out mixture token; coverage is of held-out tokens"
    )
    console.table(heads, rows, caption)
