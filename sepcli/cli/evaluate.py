"""``sepcli evaluate``: score finished estimates, or separate a set of test mixtures and score that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sepcli.cli import console
from sepcli.cli.cross import score_cross
from sepcli.cli.evaluate_options import (
    CROSS,
    OF_IMAGES,
    Dataset,
    Split,
    Subset,
    Task,
    Words,
    parse_metrics,
)
from sepcli.cli.fetch import fetch_if_new
from sepcli.cli.image_scoring import ImageTask, score_images
from sepcli.cli.reports import check_targets, show, write_files
from sepcli.cli.resolve import DEFAULT_PRIOR, Method
from sepcli.cli.run_record import write_record
from sepcli.cli.runner import run_program
from sepcli.cli.scoring import Kept, open_songs, score_finished, separate_and_score
from sepcli.cli.settings import CONSISTENCY, Consistency
from sepcli.cli.toys import score_toys
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.datasets.songs import Songs


def evaluate(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[ESTIMATES REFERENCES]",
            help="Folders of TRACK/STEM.wav (or .png): the estimates and the true stems.",
        ),
    ] = None,
    estimates: Annotated[
        Path | None,
        typer.Option(help="What a program left (demucs: MODEL/TRACK/STEM.wav), for REFERENCES or --dataset."),
    ] = None,
    runner: Annotated[
        str | None,
        typer.Option(
            metavar="demucs[:MODEL]",
            help="Let demucs separate the mixtures of the references first, into the folder of estimates; it "
            "has to be installed, with its weights.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,...",
            help="sdr, si-sdr, usdr, si-sdri or bsseval (museval's sdr, isr, sir and sar; slow); of images "
            "psnr, ssim or, of flows, nll (bits per dimension); of whole sets of them fd-mnist, cs-mnist, "
            "fd-cifar, cs-cifar, fid or is. "
            "cross-likelihood: whether priors of sounds, one --prior per source, tell them apart. If not "
            "given: sdr, or psnr for images.",
        ),
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Prior to separate with; {DEFAULT_PRIOR} if nothing is given. Repeatable for "
            "cross-likelihood, toy-waves and two folders of images."
        ),
    ] = None,
    method: Annotated[
        list[Method] | None,
        typer.Option(
            help="A row of its own; repeatable. lass or score chooses the engine of a prior that has both; "
            "the others need no prior."
        ),
    ] = None,
    dataset: Annotated[Dataset | None, typer.Option(help="What to separate; builtin if not given.")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="For pairs and cross-likelihood: folder of STEM/ITEM.flac; for others: that of the data "
            "set. For cross-likelihood also the word toy-waves, or the folder of Slakh2100 or MUSDB18: "
            "segments of its test songs. For images one folder, or two, of which each pair has one of each."
        ),
    ] = None,
    task: Annotated[
        Task, typer.Option(help="For cifar10 and images: colorize colors them from their gray.")
    ] = Task.SEPARATE,
    inception_weights: Annotated[
        Path | None,
        typer.Option(help="For fid and is: the original Inception network, as torch-fidelity has it."),
    ] = None,
    subset: Annotated[
        Subset | None, typer.Option(help="Of musdb and slakh; test if not given. The official ones.")
    ] = None,
    split: Annotated[
        Split,
        typer.Option(
            help="class: of mnist a digit of 0-4 with one of 5-9, of cifar10 an animal with a machine; "
            "none: any two."
        ),
    ] = Split.NONE,
    pairs: Annotated[int | None, typer.Option(min=1, help="Only the first N items.")] = None,
    noise: Annotated[
        float,
        typer.Option(help="For cross-likelihood: σ of noise on the test items, which flows are told."),
    ] = 0.0,
    cache: Annotated[
        Path | None, typer.Option(help="For cross-likelihood: folder for decoded songs (default: memory).")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Posterior draws per mixture; the prior's own if not given. For images, the likeliest "
            "of several has a row of its own.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws and the bootstrap.")] = 0,
    sampler: Annotated[str | None, typer.Option(help="The prior's own if not given.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A sampler setting; repeatable.")
    ] = None,
    consistency: Annotated[
        Consistency | None, typer.Option(help=f"For sounds that are separated with a prior. {CONSISTENCY}")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Mixtures separated at once.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Processes that score finished estimates.")] = 1,
    any_order: Annotated[
        bool, typer.Option("--any-order", help="Score a track's finished estimates in their best order.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the JSON report here; resumes if interrupted.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw the first metric's histogram, method by method, into a .png, .pdf or .svg; of "
            "cross-likelihood a heat map."
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write a row per track, method, stem and metric.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write one page with tables, plots, and the best, median and worst to hear or see."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, not as tables.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes.")] = False,
) -> None:
    """Measure separations: SDR and its kin, beside the average and an oracle mask.

    With ESTIMATES and REFERENCES, files are matched by name and scored.
    With --dataset pairs, musdb or slakh and --data DIR, clean stems are mixed, separated, scored.
    With --dataset mnist, cifar10 or images and --data DIR, sums of two test images are.
    With --dataset toy-waves means of toy waves are, with one --prior per shape or encoders.
    With --metric cross-likelihood nothing is separated: priors are asked about each other's sources.
    With nothing at all, that is done for a small set that comes with sepcli.
    """
    priors, places, metrics = prior or [], data or [], parse_metrics(metric or [])
    if CROSS in metrics:
        unused: dict[str, Any] = {
            "another --metric": len(metrics) > 1,
            "ESTIMATES": folders or estimates,
        }
        unused |= {"--inception-weights": inception_weights, "a second --data": len(places) > 1}
        unused |= {"--task": task is not Task.SEPARATE}
        unused |= {"--method": method, "--dataset": dataset, "--subset": subset, "--samples": samples}
        unused |= {"--sampler": sampler, "--set": settings, "--csv": csv, "--html": html}
        unused |= {"--consistency": consistency}
        unused |= {
            "--any-order": any_order,
            "--workers": workers > 1,
            "--runner": runner,
            "--split": split is not Split.NONE,
        }
        score_cross(
            priors,
            places[0] if places else None,
            unused,
            pairs=pairs,
            noise=noise,
            seed=seed,
            device=device,
            cache=cache,
            out=out,
            plot=plot,
            overwrite=overwrite,
            as_json=as_json,
            quiet=quiet,
        )
        return
    for option, value in {"--noise": noise, "--cache": cache}.items():
        if value:
            raise UsageError(
                f"{option} is for --metric cross-likelihood", "leave it out, or give that metric"
            )
    finished = bool(folders or estimates)
    asked = (dataset, places, subset, split, task, metrics, priors, inception_weights)
    Words(*asked, finished, plotted=plot is not None).check()
    if finished and (pairs or sampler or settings or method or priors or samples):
        raise UsageError(
            "finished estimates are scored as they are, without separating",
            "leave out --prior, --method, --samples, --sampler, --set and --pairs, or leave out the folders",
        )
    if runner is not None and not finished:
        raise UsageError("--runner needs a folder for its stems, and references", "give --estimates DIR too")
    if consistency and (finished or dataset in OF_IMAGES or dataset is Dataset.TOY_WAVES):
        raise UsageError("--consistency is for sounds that are separated with a prior", "leave it out")
    if consistency is Consistency.NONE and samples:
        raise UsageError("--consistency none scores the bare first draw", "leave out --samples")
    if not finished and (workers > 1 or any_order):
        raise UsageError("--workers and --any-order are for finished estimates", "leave them out")
    targets = {"--out": out, "--plot": plot, "--csv": csv, "--html": html}
    kept = Kept(None if out is None else out.parent / f"{out.name}.partial", overwrite, quiet)
    check_targets(targets, overwrite, kept.journal)
    songs, folder = None, places[0] if places else None
    if folder is not None and dataset in (Dataset.MUSDB, Dataset.SLAKH):
        songs = open_songs(dataset.value, folder, subset.value if subset else Subset.TEST)
    if finished:
        given, known = _folders(folders or [], estimates, folder if songs is None else songs[0])
        if runner is not None:
            run_program(runner, known, given, device, quiet)
        options = {"any_order": any_order, "seed": seed, "workers": workers}
        report = score_finished(given, known, songs[1] if songs else None, metrics, options, kept)
    else:
        chosen: dict[str, Any] = {
            "prior": priors[0] if priors else None,
            "methods": list(dict.fromkeys(method or [])),
            "device": device,
        }
        chosen |= {"sampler": sampler, "settings": settings or [], "draws": samples}
        chosen |= {"consistency": consistency}
        counts = {"limit": pairs, "seed": seed, "batch": batch}
        fetch_if_new(priors, quiet)
        if dataset is not None and dataset in OF_IMAGES:
            colorize = task is Task.COLORIZE
            report = score_images(
                ImageTask(
                    dataset.value,
                    places,
                    colorize,
                    split.value,
                    metrics,
                    priors,
                    chosen,
                    counts,
                    inception_weights,
                    kept,
                )
            )
        elif dataset is Dataset.TOY_WAVES:
            report = score_toys(priors, metrics, chosen, counts, kept)
        else:
            report = separate_and_score(songs or folder, metrics or ("sdr",), chosen, counts, kept)
    document = report.as_dict()
    if out is not None:
        write_record(out, document)
        console.note(f"wrote {out}", quiet)
    write_files(report, targets, quiet)
    kept.drop()
    show(report, document, as_json, quiet)
    if report.failures:
        raise typer.Exit(3)


def _folders(
    folders: Sequence[Path], estimates: Path | None, data: Path | Songs | None
) -> tuple[Path, Path | Songs]:
    """Estimates and references, from the arguments, --estimates and --data."""
    given = [estimates, *folders] if estimates is not None else [*folders]
    everything: list[Path | Songs] = [*given, data] if data is not None else [*given]
    if len(everything) != 2 or not given:
        raise UsageError(
            "ESTIMATES and REFERENCES go together",
            "give two folders; or --estimates DIR and one; or --estimates DIR and --dataset with --data",
        )
    return given[0], everything[1]
