"""Options of ``sepcli evaluate``, whose values come from the tables of data sets and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sepcli.cli import completion
from sepcli.cli.options import (
    Devices,
    ExecutorName,
    Jobs,
    Overwrite,
    PresetName,
    Quiet,
    files,
    model,
    panel,
    report,
)
from sepcli.cli.resolve import DEFAULT_PRIOR, Method
from sepcli.cli.settings import CONSISTENCY, Consistency
from sepcli.cli.tables import Table, TableStyle
from sepcli.datasets import DATASETS
from sepcli.metrics import METRICS
from sepcli.settings import Batch, Items, Samples, Seed, limits

CROSS, COLORIZE = "cross-likelihood", "colorize"
TASKS = ("separate", COLORIZE)
SPLITS = tuple(dict.fromkeys(split for row in DATASETS.values() for split in row.splits))
PAIRINGS = tuple(dict.fromkeys(rule for row in DATASETS.values() for rule in row.pairing))
DatasetName = StrEnum("DatasetName", {name.upper().replace("-", "_"): name for name in DATASETS})  # type: ignore[misc]
SplitName = StrEnum("SplitName", {name.upper(): name for name in SPLITS})  # type: ignore[misc]
PairingName = StrEnum("PairingName", {name.upper(): name for name in PAIRINGS})  # type: ignore[misc]
TaskName = StrEnum("TaskName", {name.upper(): name for name in TASKS})  # type: ignore[misc]


def metrics_of(medium: str, *scopes: str) -> tuple[str, ...]:
    """Return the names of the metrics that may be chosen of a medium, by scope."""
    rows = METRICS.values()
    return tuple(row.name for row in rows if row.selectable and row.medium == medium and row.scope in scopes)


METRIC_HELP = (
    f"Metrics, separated by commas. Audio: {', '.join(metrics_of('audio', 'track'))}, bsseval (sdr, isr, "
    f"sir and sar by museval; slow). Images: {', '.join(metrics_of('image', 'item', 'check'))}; sets: "
    f"{', '.join(metrics_of('image', 'set'))}. Priors of audio: {CROSS}. Default: sdr, or psnr for images."
)
DATASET_HELP = "; ".join(f"{row.name}: {row.summary}" for row in DATASETS.values()) + ". Default: builtin."


on_data, on_metrics = panel("Data"), panel("Metrics")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Arguments and options of ``sepcli evaluate``."""

    context: typer.Context
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[ESTIMATES REFERENCES]",
            help="Folders of TRACK/STEM.wav (or .png): the estimates and the true stems.",
        ),
    ] = None
    estimates: Annotated[
        Path | None,
        on_data("Estimates of a program (demucs: MODEL/TRACK/STEM.wav), for REFERENCES or --dataset."),
    ] = None
    runner: Annotated[
        str | None,
        on_data(
            "Separate the mixtures of the references with demucs first, into the folder of estimates; demucs"
            " must be installed, with its weights.",
            metavar="demucs[:MODEL]",
        ),
    ] = None
    metric: Annotated[
        list[str] | None, on_metrics(METRIC_HELP, metavar="NAME,...", autocompletion=completion.metrics)
    ] = None
    prior: Annotated[
        list[str] | None,
        model(
            f"Prior: name or folder; {DEFAULT_PRIOR} if nothing is given. Repeatable for cross-likelihood,"
            " toy-waves and two folders of images.",
            autocompletion=completion.priors,
        ),
    ] = None
    method: Annotated[
        list[Method] | None,
        model(
            "Method to add to the table; repeatable. lass, score or variational: engine of the prior; the"
            " others need no prior."
        ),
    ] = None
    dataset: Annotated[DatasetName | None, on_data(DATASET_HELP)] = None
    data: Annotated[
        list[Path] | None,
        on_data(
            "Folder of the data set; of images one or two. For cross-likelihood: STEM/ITEM.flac, toy-waves,"
            " or Slakh2100 or MUSDB18, whose test songs are cut into segments."
        ),
    ] = None
    task: Annotated[
        TaskName | None,
        on_data("separate (default); colorize: colorize the test images of cifar10 or images."),
    ] = None
    calibration: Annotated[
        bool,
        on_metrics(
            "Test whether samples of a score prior's posterior are distributed as the truth, on mixtures of"
            " its own samples, or of the items of --dataset and --data: ranks, TARP, coverage of intervals,"
            " standard deviations and confidence. --plot draws them. With an image or a recording: whether"
            " samples of this mixture fit their score (kernel Stein discrepancy), which needs no truth.",
            "--calibration",
        ),
    ] = False
    inception_weights: Annotated[
        Path | None,
        on_metrics("Weights of the original Inception network, as torch-fidelity has them; for fid and is."),
    ] = None
    split: Annotated[SplitName | None, on_data("Official split of musdb or slakh; test if not given.")] = None
    pairing: Annotated[
        PairingName | None,
        on_data(
            "How the two images of a pair are chosen: any two; class: of mnist a digit of 0-4 with one of"
            " 5-9, of cifar10 an animal with a machine. Default: any."
        ),
    ] = None
    sources: Annotated[
        int | None,
        on_data("Images of a sum, of any pairing. Default: 2.", "--sum", min=2, max=16),
    ] = None
    pairs: Annotated[
        int | None,
        on_data("Only the first N items or tracks.", "--only", "--pairs", **limits(Items)),
    ] = None
    noise: Annotated[
        float, on_data("σ of the noise on the test items; for cross-likelihood.", min=0, max=1000)
    ] = 0.0
    cache: Annotated[
        Path | None, on_data("Folder for decoded songs (default: memory); for cross-likelihood.")
    ] = None
    samples: Annotated[
        int | None,
        model(
            "Posterior samples per mixture; the prior's default if not given. For images, the likeliest of"
            " several has a row.",
            **limits(Samples),
        ),
    ] = None
    seed: Annotated[int, model("Seed of the samples and the bootstrap.", **limits(Seed))] = 0
    sampler: Annotated[
        str | None, model("Sampler; the prior's default if not given.", autocompletion=completion.samplers)
    ] = None
    preset: PresetName = None
    settings: Annotated[
        list[str] | None, model("A sampler setting; repeatable.", "--set", metavar="KEY=VALUE")
    ] = None
    consistency: Annotated[
        Consistency | None, model(f"For audio that is separated with a prior. {CONSISTENCY}")
    ] = None
    batch: Annotated[int, model("Mixtures that are separated together.", **limits(Batch))] = 8
    device: Devices = "auto"
    jobs: Jobs = None
    executor: ExecutorName = None
    any_order: Annotated[
        bool, on_data("Compare a track's finished estimates in their best order.", "--any-order")
    ] = False
    out: Annotated[
        Path | None, files("Write the JSON report here; resumes if interrupted.", "-o", "--out")
    ] = None
    plot: Annotated[
        Path | None,
        files(
            "Plot the first metric's histogram by method as .png, .pdf or .svg; of cross-likelihood a heat"
            " map."
        ),
    ] = None
    csv: Annotated[Path | None, files("Write a row per track, method, stem and metric.")] = None
    html: Annotated[
        Path | None,
        files("Write one HTML page with tables, plots, a list of all items, and previews of some or all."),
    ] = None
    previews: Annotated[
        int | None,
        files(
            "Items with players or images in the HTML page: best, median and worst first. Default: 3 where"
            " items are separated again for it, else all that fit.",
            **limits(Items),
        ),
    ] = None
    overwrite: Overwrite = False
    table: Table = TableStyle.TEXT
    as_json: Annotated[bool, report("Print the report as JSON, not as tables.", "--json")] = False
    quiet: Quiet = False
