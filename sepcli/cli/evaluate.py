"""``sepcli evaluate``: score finished estimates, or separate a set of test mixtures and score that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sepcli.cli import console
from sepcli.cli.digits import score_digits
from sepcli.cli.engine import DEFAULT_PRIOR, Method, find_card, load
from sepcli.cli.fetch import fetch_if_new
from sepcli.cli.records import write_record
from sepcli.cli.reports import check_targets, show, write_plot
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.evaluation.report import Report


class Metric(StrEnum):
    """What ``--metric`` takes."""

    SDR = "sdr"
    SI_SDR = "si-sdr"
    USDR = "usdr"
    SI_SDRI = "si-sdri"
    PSNR = "psnr"


class Dataset(StrEnum):
    """What ``--dataset`` takes."""

    BUILTIN = "builtin"
    PAIRS = "pairs"
    MNIST = "mnist"


class Split(StrEnum):
    """What ``--split`` takes."""

    CLASS = "class"
    NONE = "none"


def evaluate(
    estimates: Annotated[Path | None, typer.Argument(help="Folder of TRACK/STEM.wav, the estimates.")] = None,
    references: Annotated[Path | None, typer.Argument(help="The same, the true stems.")] = None,
    metric: Annotated[list[Metric] | None, typer.Option(help="Repeatable; sdr, or psnr for digits.")] = None,
    prior: Annotated[
        str | None, typer.Option(help=f"Prior to separate with; {DEFAULT_PRIOR} if nothing is given.")
    ] = None,
    method: Annotated[
        list[Method] | None,
        typer.Option(help="A row of its own; repeatable. Without --prior or lass, no prior is needed."),
    ] = None,
    dataset: Annotated[Dataset | None, typer.Option(help="What to separate; builtin if not given.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="For pairs: folder of STEM/ITEM.flac; for mnist: of its four files.")
    ] = None,
    split: Annotated[
        Split, typer.Option(help="For mnist: class mixes a digit of 0-4 with one of 5-9; none any two.")
    ] = Split.NONE,
    pairs: Annotated[int | None, typer.Option(min=1, help="Only the first N items.")] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Posterior draws per mixture; the prior's own if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws and the bootstrap.")] = 0,
    sampler: Annotated[str | None, typer.Option(help="The prior's own if not given.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A sampler setting; repeatable.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Mixtures separated at once.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the JSON report here; resumes if interrupted.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the first metric's histogram, method by method, into a .png, .pdf or .svg."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, not as tables.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes.")] = False,
) -> None:
    """Measure separations: SDR and its kin, beside the average and an oracle mask.

    With ESTIMATES and REFERENCES, files are matched by name and scored.
    With --dataset pairs --data DIR, clean stems are mixed, separated, scored.
    With --dataset mnist --data DIR, sums of two test digits are.
    With nothing at all, that is done for a small set that comes with sepcli.
    """
    if (estimates is None) != (references is None):
        raise UsageError("ESTIMATES and REFERENCES go together", "give two folders, or none")
    if (dataset in (Dataset.PAIRS, Dataset.MNIST)) != (data is not None):
        raise UsageError("--dataset pairs or mnist and --data DIR go together", "give both, or neither")
    digits = dataset is Dataset.MNIST
    if not digits and (Metric.PSNR in (metric or []) or split is Split.CLASS):
        raise UsageError("psnr and --split are for --dataset mnist", "leave them out")
    if estimates is not None and (dataset or pairs or sampler or settings or method):
        raise UsageError(
            "finished estimates are scored as they are, without separating",
            "leave out --dataset, --data, --pairs, --method, --sampler and --set, or leave out the folders",
        )
    check_targets(out, plot, overwrite)
    metrics = list(dict.fromkeys(m.value for m in metric or [Metric.SDR]))
    journal = None if out is None else out.with_name(out.name + ".partial")
    if estimates is not None and references is not None:
        report = _score_folders(estimates, references, metrics, seed, quiet)
    else:
        chosen: dict[str, Any] = {
            "prior": prior,
            "methods": list(dict.fromkeys(method or [])),
            "device": device,
        }
        chosen |= {"sampler": sampler, "settings": settings or [], "draws": samples}
        counts = {"limit": pairs, "seed": seed, "batch": batch}
        fetch_if_new([prior] if prior else (), quiet)
        if digits and data is not None:
            wanted = [m.value for m in metric or []]
            report = score_digits(data, chosen, counts, split.value, wanted, journal, overwrite, quiet)
        else:
            report = _separate_and_score(data, metrics, chosen, counts, journal, overwrite, quiet)
    document = report.as_dict()
    if out is not None:
        write_record(out, document)
        console.note(f"wrote {out}", quiet)
    if journal is not None:
        journal.unlink(missing_ok=True)
    show(report, document, as_json, quiet)
    if plot is not None:
        write_plot(report, plot, quiet)
    if report.failures:
        raise typer.Exit(3)


def _score_folders(
    estimates: Path, references: Path, metrics: Sequence[str], seed: int, quiet: bool
) -> Report:
    from sepcli.evaluation.runs import evaluate_folders

    with console.progress("scoring", quiet) as on_step:
        return evaluate_folders(estimates, references, metrics, seed=seed, on_step=on_step)


def _separate_and_score(
    data: Path | None,
    metrics: Sequence[str],
    chosen: Mapping[str, Any],
    counts: Mapping[str, Any],
    journal: Path | None,
    overwrite: bool,
    quiet: bool,
) -> Report:
    from sepcli.cli.settings import parse_settings, split_settings, stream_settings

    given = parse_settings(chosen["settings"])
    methods: list[Method] = chosen["methods"]
    blind = [method.value for method in methods if method.blind]
    families = [method for method in methods if not method.blind]
    needs_prior = bool(chosen["prior"] or families or not blind)
    leading = next(iter(families), None) if needs_prior else methods[0]
    card = find_card(leading, chosen["prior"], chosen["sampler"], chosen["draws"] or 1)
    for_stream, settings = split_settings(given, card)
    if chosen["draws"]:
        for_stream["draws"] = chosen["draws"]
    separator, made_with = load(
        card, chosen["prior"], device=chosen["device"], sampler=chosen["sampler"], settings=settings
    )
    from sepcli.evaluation.runs import BUILTIN, evaluate_dataset

    try:
        with console.progress("separating", quiet) as on_step:
            return evaluate_dataset(
                data or BUILTIN,
                separator if needs_prior else None,
                metrics,
                methods=blind,
                **counts,
                stream=stream_settings(for_stream, consistency="wiener", samples=1),
                settings=made_with if needs_prior else {"prior": None, "device": "cpu"},
                journal=journal,
                replace_journal=overwrite,
                on_step=on_step,
            )
    except KeyboardInterrupt:
        if journal is not None:
            console.note(f"finished items are in {journal}; the same command continues", quiet)
        raise
