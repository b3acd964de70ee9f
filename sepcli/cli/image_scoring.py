"""``sepcli evaluate --dataset mnist, cifar10 or images``: sums of two images, or gray ones to color."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.scoring import Kept, resumable
from sepcli.errors import UsageError
from sepcli.metrics import METRICS

if TYPE_CHECKING:
    from sepcli.datasets.image_folder import LabelledImages
    from sepcli.evaluation.image_pairs import PairSource
    from sepcli.evaluation.image_runs import ImageRun
    from sepcli.evaluation.report import Report

ITEMS = {"mnist": 6_000, "cifar10": 25_000, "images": 1_000}
"""How many pairs there are if it is not said; of digits and CIFAR-10, as many as the paper scores."""
ALL = 50_000
"""How many images are colorized if it is not said: all, in the paper this many."""

CHANNELS = {"mnist": 1, "cifar10": 3}
Shape = tuple[int, int, int]  # C, H, W


@dataclass(frozen=True)
class ImageTask:
    """What is asked for.

    Attributes:
        dataset: mnist, cifar10 or images.
        data: its folder; of images one or two.
        colorize: whether to color; else to separate.
        split: ``class`` or ``none``.
        metrics: psnr if none.
        priors: words; of images also one per folder.
        chosen: ``methods``, ``device``, ``sampler``, ``settings`` (words), ``draws``.
        counts: ``limit`` (items), ``seed``, ``batch``.
        inception: weights for fid and is.
        kept: see there.
    """

    dataset: str
    data: Sequence[Path]
    colorize: bool
    split: str
    metrics: Sequence[str]
    priors: Sequence[str]
    chosen: Mapping[str, Any]
    counts: Mapping[str, Any]
    inception: Path | None
    kept: Kept


def score_images(task: ImageTask) -> Report:
    """Separate and score pairs of test images, or color them.

    Raises:
        UsageError: something was asked for that images have not.
        SepError: the prior or the data cannot be used.
    """
    if not task.priors:
        raise UsageError(f"--dataset {task.dataset} needs a prior of images", "give --prior NAME or FOLDER")
    known = [name for name, row in METRICS.items() if row.medium == "image" and row.selectable]
    if set(task.chosen["methods"]) - {"score", "lass"} or set(task.metrics) - set(known):
        raise UsageError(f"images are scored by {', '.join(known)}", "leave out --method and other metrics")
    from sepcli.catalog import resolve as catalog
    from sepcli.catalog.engines import with_engine
    from sepcli.cli.settings import parse_settings

    given = parse_settings(task.chosen["settings"])
    for prior in task.priors:  # a misspelt name is answered before torch is imported
        for method in task.chosen["methods"] or [None]:
            with_engine(*catalog.find(prior), method)
    report = _color(task, given) if task.colorize else _separate(task, given)
    _note_checks(report, "image" if task.colorize else "pair", task.kept.quiet)
    return report


def _separate(task: ImageTask, given: Mapping[str, str]) -> Report:
    from sepcli.catalog import resolve as catalog
    from sepcli.cli.device import choose_device
    from sepcli.evaluation.image_pairs import evaluate_pairs
    from sepcli.priors.images.load import load_images

    place = str(choose_device(task.chosen["device"]))
    shape, classes = _prior(task)
    source = _source(task, shape)
    conditional = task.split == "class" and classes == source.names
    separator = load_images(
        task.priors,
        (1.0, 1.0),
        labels=(0, 1) if conditional else None,
        device=place,
        sampler=task.chosen["sampler"],
        settings=given,
    )
    if "nll" in task.metrics and separator.density is None:
        raise UsageError(
            f"nll needs a density, and {catalog.find(task.priors[0])[0].name} is none",
            "use a flow: sepcli train-prior --family glow",
        )
    made_with = _made_with(task, separator.describe(), place) | {"class_conditional": conditional}
    with resumable("pairs", task.kept), console.progress("scoring", task.kept.quiet) as on_progress:
        run = _run(task, made_with, place, on_progress)
        return evaluate_pairs(source, separator, run, task.counts["limit"] or ITEMS[task.dataset])


def _color(task: ImageTask, given: Mapping[str, str]) -> Report:
    from sepcli.cli.device import choose_device
    from sepcli.evaluation.colorization import WEIGHTS, evaluate_colorizations
    from sepcli.priors.images.colorizer import load_colors

    place = str(choose_device(task.chosen["device"]))
    colorizer = load_colors(
        task.priors[0], WEIGHTS, device=place, sampler=task.chosen["sampler"], settings=given
    )
    separator, images = colorizer.separator(), _images(task, task.data[0], _prior(task)[0])
    named = "CIFAR-10, test images" if task.dataset == "cifar10" else f"images of {task.data[0].name}"
    made_with = _made_with(task, colorizer.describe(), place) | {"task": "colorize", "gray": "mean"}
    with resumable("images", task.kept), console.progress("scoring", task.kept.quiet) as on_progress:
        run = _run(task, made_with, place, on_progress)
        count = task.counts["limit"] or ALL
        return evaluate_colorizations(images.images, named, separator, run, count)


def _source(task: ImageTask, shape: Shape) -> PairSource:
    from sepcli.evaluation import image_sources as image_sources
    from sepcli.evaluation.digits import digit_source

    if task.dataset == "mnist":
        return digit_source(task.data[0], task.split, task.counts["seed"])
    images = [_images(task, folder, shape) for folder in task.data]
    if task.dataset == "cifar10":
        return image_sources.cifar_source(images[0], task.split)
    return image_sources.folder_source(task.data, images)


def _images(task: ImageTask, folder: Path, shape: Shape) -> LabelledImages:
    """All test images; those of any folder are brought to a prior's shape."""
    from sepcli.evaluation import image_sources as image_sources

    def tell(text: str) -> None:
        console.note(text, task.kept.quiet)

    with console.progress(f"reading {folder.name}", task.kept.quiet) as on_progress:
        if task.dataset == "cifar10":
            return image_sources.cifar_images(folder, "test", on_progress, tell)
        return image_sources.folder_images(folder, shape, on_progress, tell)


def _prior(task: ImageTask) -> tuple[Shape, tuple[str, ...]]:
    """Channels, height and width of the first prior's images, and its classes.

    Raises:
        UsageError: it is of gray images and the data set of color ones, or the other way round.
    """
    from sepcli.priors.images.load import known_images

    shape, classes = known_images(task.priors[0])
    if shape[0] != CHANNELS.get(task.dataset, shape[0]):
        kind = "gray" if shape[0] == 1 else "color"
        raise UsageError(
            f"prior {task.priors[0]} is of {kind} images, {task.dataset} is not", "choose another prior"
        )
    return shape, classes


def _made_with(task: ImageTask, described: Mapping[str, Any], place: str) -> dict[str, Any]:
    """What a record says of the separator, which describes itself."""
    from sepcli.catalog import resolve as catalog

    found = [catalog.find(prior)[0] for prior in task.priors]
    names = [card.name for card in found]
    files = {card.name: {name: entry.sha256 for name, entry in card.files.items()} for card in found}
    return {
        "prior": names[0] if len(names) == 1 else names,
        "files": files[names[0]] if len(names) == 1 else files,
        **described,
        "device": place,
    }


def _run(task: ImageTask, made_with: Mapping[str, Any], place: str, on_progress: Any) -> ImageRun:
    import torch

    from sepcli.evaluation.distribution import open_networks
    from sepcli.evaluation.image_runs import ImageRun

    metrics = tuple(metric for metric in task.metrics if metric != "nll") or ("psnr",)
    return ImageRun(
        metrics=metrics,
        networks=open_networks(metrics, task.inception, torch.device(place)),
        seed=task.counts["seed"],
        batch=task.counts["batch"],
        draws=task.chosen["draws"] or 1,
        settings=made_with,
        journal=task.kept.journal,
        replace_journal=task.kept.overwrite,
        on_progress=on_progress,
    )


def _note_checks(report: Report, item: str, quiet: bool) -> None:
    """What it cost, how well the results explain the mixtures, and how much draws differ."""
    seconds = report.cost.get(f"seconds_per_{item}")
    took = "" if seconds is None else f", {seconds:.2f} s per {item}"
    console.note(f"{report.cost['evaluations']:g} evaluations per source{took}", quiet)
    for method, rows in report.results.get("nll", {}).items():
        console.note(f"{method}: {rows['mixture'].mean:.3f} bits per dimension under the prior", quiet)
    for method, rows in report.results["residual"].items():
        left = rows["mixture"].mean
        console.note(f"{method}: the sources miss the mixture by {left:.2g} steps of 8 bits (rms)", quiet)
    for method, rows in report.results.get("diversity", {}).items():
        apart = rows["colors"].mean
        console.note(f"{method}: draws differ by {apart:.3g} steps of 8 bits (rms)", quiet)
