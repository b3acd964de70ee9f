"""``sepcli evaluate``: compare finished estimates, or separate test mixtures and compare the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sepcli.cli import console
from sepcli.cli import options as shared
from sepcli.cli.evaluate_options import (
    COLORIZE,
    DATASET_HELP,
    FINISHED,
    METRIC_HELP,
    DatasetName,
    PairingName,
    Request,
    SplitName,
    TaskName,
    check_choice,
    complete_metrics,
    given_options,
    parse_metrics,
)
from sepcli.cli.evaluate_tasks import Choice, make_task, open_songs
from sepcli.cli.fetch import fetch_if_new
from sepcli.cli.reports import Kept, check_targets, document_of, resumable, show, write_files
from sepcli.cli.resolve import DEFAULT_PRIOR, Method
from sepcli.cli.run_record import write_record
from sepcli.cli.runner import run_program
from sepcli.cli.settings import CONSISTENCY, Consistency
from sepcli.datasets import DATASETS
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.datasets.songs import Songs
    from sepcli.evaluation.task import Task

DATA, METRICS_PANEL = "Data", "Metrics"
"""Panels of the help."""


def evaluate(
    context: typer.Context,
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[ESTIMATES REFERENCES]",
            help="Folders of TRACK/STEM.wav (or .png): the estimates and the true stems.",
        ),
    ] = None,
    estimates: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=DATA,
            help="Estimates of a program (demucs: MODEL/TRACK/STEM.wav), for REFERENCES or --dataset.",
        ),
    ] = None,
    runner: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=DATA,
            metavar="demucs[:MODEL]",
            help="Separate the mixtures of the references with demucs first, into the folder of estimates; "
            "demucs must be installed, with its weights.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=METRICS_PANEL,
            metavar="NAME,...",
            help=METRIC_HELP,
            autocompletion=complete_metrics,
        ),
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=shared.MODEL,
            help=f"Prior: name or folder; {DEFAULT_PRIOR} if nothing is given. Repeatable for "
            "cross-likelihood, toy-waves and two folders of images.",
        ),
    ] = None,
    method: Annotated[
        list[Method] | None,
        typer.Option(
            rich_help_panel=shared.MODEL,
            help="Method to add to the table; repeatable. lass, score or variational: engine of the prior; "
            "the others need no prior.",
        ),
    ] = None,
    dataset: Annotated[DatasetName | None, typer.Option(rich_help_panel=DATA, help=DATASET_HELP)] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            rich_help_panel=DATA,
            help="Folder of the data set; of images one or two. For cross-likelihood: STEM/ITEM.flac, "
            "toy-waves, or Slakh2100 or MUSDB18, whose test songs are cut into segments.",
        ),
    ] = None,
    task: Annotated[
        TaskName | None,
        typer.Option(
            rich_help_panel=DATA,
            help="separate (default); colorize: colorize the test images of cifar10 or images.",
        ),
    ] = None,
    inception_weights: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=METRICS_PANEL,
            help="Weights of the original Inception network, as torch-fidelity has them; for fid and is.",
        ),
    ] = None,
    split: Annotated[
        SplitName | None,
        typer.Option(rich_help_panel=DATA, help="Official split of musdb or slakh; test if not given."),
    ] = None,
    pairing: Annotated[
        PairingName | None,
        typer.Option(
            rich_help_panel=DATA,
            help="How the two images of a pair are chosen: any two; class: of mnist a digit of 0-4 with one "
            "of 5-9, of cifar10 an animal with a machine. Default: any.",
        ),
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(rich_help_panel=DATA, min=1, help="Only the first N items.")
    ] = None,
    noise: Annotated[
        float,
        typer.Option(rich_help_panel=DATA, help="σ of the noise on the test items; for cross-likelihood."),
    ] = 0.0,
    cache: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=DATA, help="Folder for decoded songs (default: memory); for cross-likelihood."
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=shared.MODEL,
            min=1,
            help="Posterior samples per mixture; the prior's default if not given. For images, the likeliest "
            "of several has a row.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(rich_help_panel=shared.MODEL, min=0, help="Seed of the samples and the bootstrap.")
    ] = 0,
    sampler: Annotated[
        str | None,
        typer.Option(rich_help_panel=shared.MODEL, help="Sampler; the prior's default if not given."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", rich_help_panel=shared.MODEL, metavar="KEY=VALUE", help="A sampler setting; repeatable."
        ),
    ] = None,
    consistency: Annotated[
        Consistency | None,
        typer.Option(
            rich_help_panel=shared.MODEL, help=f"For audio that is separated with a prior. {CONSISTENCY}"
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option(rich_help_panel=shared.MODEL, min=1, help="Mixtures that are separated together.")
    ] = 8,
    device: Annotated[
        str, typer.Option(rich_help_panel=shared.MODEL, help="auto, cpu, cuda, cuda:N or mps.")
    ] = "auto",
    workers: Annotated[
        int, typer.Option(rich_help_panel=DATA, min=1, help="Processes that compare finished estimates.")
    ] = 1,
    any_order: Annotated[
        bool,
        typer.Option(
            "--any-order",
            rich_help_panel=DATA,
            help="Compare a track's finished estimates in their best order.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            rich_help_panel=shared.FILES,
            help="Write the JSON report here; resumes if interrupted.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=shared.FILES,
            help="Plot the first metric's histogram by method as .png, .pdf or .svg; of cross-likelihood a "
            "heat map.",
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(rich_help_panel=shared.FILES, help="Write a row per track, method, stem and metric."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=shared.FILES,
            help="Write one HTML page with tables, plots, and the best, median and worst item.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=shared.FILES, help="Replace existing files.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", rich_help_panel=shared.REPORT, help="Print the report as JSON, not as tables."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", rich_help_panel=shared.REPORT, help="No progress and no notes.")
    ] = False,
) -> None:
    """Measure separations, beside the average and an oracle mask.

    With ESTIMATES and REFERENCES, files are matched by name and compared.
    With --dataset and --data DIR, test items are mixed, separated and compared.
    With --metric cross-likelihood, every source's test items are scored under every prior.
    With nothing at all, the small set that comes with sepcli is separated.
    """
    row, data_folders, metrics = (
        DATASETS[dataset] if dataset else None,
        data or [],
        parse_metrics(metric or []),
    )
    request = Request(given_options(context), row, data_folders, metrics, task == COLORIZE)
    request.check()
    kind = request.kind
    used = row or DATASETS["builtin"]
    check_choice("--split", split, row, used.splits)
    check_choice("--pairing", pairing, row, used.pairing)
    targets = {"--out": out, "--plot": plot, "--csv": csv, "--html": html}
    kept = Kept(None if out is None else out.parent / f"{out.name}.partial", overwrite, quiet)
    check_targets(targets, overwrite, kept.journal)
    chosen = Choice(
        kind=kind,
        dataset=used,
        data=data_folders,
        split=split or "test",
        pairing=pairing or "any",
        metrics=metrics,
        priors=prior or [],
        methods=list(dict.fromkeys(method or [])),
        sampler=sampler,
        settings=settings or [],
        samples=samples,
        consistency=consistency,
        pairs=pairs,
        seed=seed,
        batch=batch,
        device=device,
        inception=inception_weights,
        noise=noise,
        cache=cache,
        quiet=quiet,
    )
    executor = None
    if kind is FINISHED:
        given, references, title = _folders(folders or [], estimates, chosen)
        if runner is not None:
            run_program(runner, references, given, device, quiet)
        from sepcli.evaluation.tasks.folders import open_folders
        from sepcli.separation.executor import Processes

        work: Task[Any] = open_folders(given, references, metrics, title=title, any_order=any_order)
        executor = Processes(workers) if workers > 1 else None
    else:
        fetch_if_new(chosen.priors, quiet)
        work = make_task(chosen)
    from sepcli.evaluation.run import run

    with resumable(kept), console.progress("evaluating", quiet) as on_progress:
        report = run(
            work,
            metrics,
            seed=seed,
            batch=batch,
            journal=kept.journal,
            replace_journal=overwrite,
            executor=executor,
            on_progress=on_progress,
        )
    document = document_of(report)
    if out is not None:
        write_record(out, document)
        console.note(f"wrote {out}", quiet)
    write_files(report, targets, quiet)
    kept.drop()
    show(report, document, as_json, quiet)
    if report.failures:
        raise typer.Exit(3)


def _folders(
    folders: Sequence[Path], estimates: Path | None, chosen: Choice
) -> tuple[Path, Path | Songs, str | None]:
    """Estimates, references and what to call them, from the arguments, --estimates and --data."""
    given = [estimates, *folders] if estimates is not None else [*folders]
    pair: list[tuple[Path | Songs, str | None]] = [(folder, None) for folder in given]
    if chosen.data:
        songs = open_songs(chosen.dataset, chosen.data[0], chosen.split)
        pair.append((songs.songs, songs.title))
    if len(pair) != 2 or not given:
        raise UsageError(
            "ESTIMATES and REFERENCES go together",
            "give two folders; or --estimates DIR and one; or --estimates DIR and --dataset with --data",
        )
    return given[0], *pair[1]
