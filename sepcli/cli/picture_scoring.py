"""``sepcli evaluate --dataset mnist, cifar10 or pictures``: sums of two pictures, or grey ones to colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.evaluate_words import Metric
from sepcli.cli.scoring import Kept, resumable
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.datasets.picture_folder import Pictures
    from sepcli.evaluation.picture_pairs import PairSource
    from sepcli.evaluation.picture_runs import PictureRun
    from sepcli.evaluation.report import Report
    from sepcli.protocols import PictureSeparator

ITEMS = {"mnist": 6_000, "cifar10": 25_000, "pictures": 1_000}
"""How many pairs there are if it is not said; of digits and CIFAR-10, as many as the paper scores."""
ALL = 50_000
"""How many pictures are coloured if it is not said: all, in the paper this many."""

CHANNELS = {"mnist": 1, "cifar10": 3}
Shape = tuple[int, int, int]  # C, H, W


@dataclass(frozen=True)
class PictureTask:
    """What is asked for.

    Attributes:
        dataset: mnist, cifar10 or pictures.
        data: its folder; of pictures one or two.
        colorize: whether to colour; else to separate.
        split: ``class`` or ``none``.
        metrics: psnr if none.
        priors: words; of pictures also one per folder.
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


def score_pictures(task: PictureTask) -> Report:
    """Separate and score pairs of test pictures, or colour them.

    Raises:
        UsageError: something was asked for that pictures have not.
        SepError: the prior or the data cannot be used.
    """
    from sepcli.evaluation.protocol import PICTURES, SETS

    if not task.priors:
        raise UsageError(f"--dataset {task.dataset} needs a prior of pictures", "give --prior NAME or FOLDER")
    known = [*PICTURES, Metric.NLL, *SETS]
    if set(task.chosen["methods"]) - {"score", "lass"} or set(task.metrics) - set(known):
        raise UsageError(f"pictures are scored by {', '.join(known)}", "leave out --method and other metrics")
    from sepcli.catalog import card as cards
    from sepcli.catalog.engines import with_engine
    from sepcli.cli.settings import parse_settings

    given = parse_settings(task.chosen["settings"])
    for prior in task.priors:  # a misspelt name is answered before torch is imported
        for method in task.chosen["methods"] or [None]:
            with_engine(*cards.find(prior), method)
    report = _colour(task, given) if task.colorize else _separate(task, given)
    _note_checks(report, "picture" if task.colorize else "pair", task.kept.quiet)
    return report


def _separate(task: PictureTask, given: Mapping[str, str]) -> Report:
    from sepcli.catalog import card as cards
    from sepcli.catalog.pictures import load_pictures
    from sepcli.cli.device import choose_device
    from sepcli.evaluation.picture_pairs import evaluate_pairs

    place = str(choose_device(task.chosen["device"]))
    shape, classes = _prior(task)
    source = _source(task, shape)
    conditional = task.split == "class" and classes == source.names
    separator = load_pictures(
        task.priors,
        (1.0, 1.0),
        labels=(0, 1) if conditional else None,
        device=place,
        sampler=task.chosen["sampler"],
        settings=given,
    )
    card, _ = cards.find(task.priors[0])
    if Metric.NLL in task.metrics and separator.density is None:
        raise UsageError(
            f"nll needs a density, and {card.name} is none", "use a flow: sepcli train-prior --family glow"
        )
    own = card.settings if task.chosen["sampler"] is None else {}
    made_with = _made_with(task, separator, {**own, **given}, place) | {"class_conditional": conditional}
    with resumable("pairs", task.kept), console.progress("scoring", task.kept.quiet) as on_step:
        run = _run(task, made_with, place, on_step)
        return evaluate_pairs(source, separator, run, task.counts["limit"] or ITEMS[task.dataset])


def _colour(task: PictureTask, given: Mapping[str, str]) -> Report:
    from sepcli.catalog.colours import load_colours
    from sepcli.cli.device import choose_device
    from sepcli.evaluation.colourings import WEIGHTS, evaluate_colourings

    place = str(choose_device(task.chosen["device"]))
    colourist = load_colours(
        task.priors[0], WEIGHTS, device=place, sampler=task.chosen["sampler"], settings=given
    )
    separator, pictures = colourist.separator(), _pictures(task, task.data[0], _prior(task)[0])
    named = "CIFAR-10, test pictures" if task.dataset == "cifar10" else f"pictures of {task.data[0].name}"
    made_with = _made_with(task, separator, colourist.settings, place) | {"task": "colorize", "grey": "mean"}
    with resumable("pictures", task.kept), console.progress("scoring", task.kept.quiet) as on_step:
        run = _run(task, made_with, place, on_step)
        count = task.counts["limit"] or ALL
        return evaluate_colourings(pictures.images, named, separator, run, count)


def _source(task: PictureTask, shape: Shape) -> PairSource:
    from sepcli.evaluation import picture_sources
    from sepcli.evaluation.digits import digit_source

    if task.dataset == "mnist":
        return digit_source(task.data[0], task.split, task.counts["seed"])
    pictures = [_pictures(task, folder, shape) for folder in task.data]
    if task.dataset == "cifar10":
        return picture_sources.cifar_source(pictures[0], task.split)
    return picture_sources.folder_source(task.data, pictures)


def _pictures(task: PictureTask, folder: Path, shape: Shape) -> Pictures:
    """All test pictures; those of any folder are brought to a prior's shape."""
    from sepcli.evaluation import picture_sources

    def tell(text: str) -> None:
        console.note(text, task.kept.quiet)

    with console.progress(f"reading {folder.name}", task.kept.quiet) as on_step:
        if task.dataset == "cifar10":
            return picture_sources.cifar_pictures(folder, "test", on_step, tell)
        return picture_sources.folder_pictures(folder, shape, on_step, tell)


def _prior(task: PictureTask) -> tuple[Shape, tuple[str, ...]]:
    """Channels, height and width of the first prior's pictures, and its classes.

    Raises:
        UsageError: it is of grey pictures and the data set of colour ones, or the other way round.
    """
    from sepcli.catalog.pictures import known_pictures

    shape, classes = known_pictures(task.priors[0])
    if shape[0] != CHANNELS.get(task.dataset, shape[0]):
        kind = "grey" if shape[0] == 1 else "colour"
        raise UsageError(
            f"prior {task.priors[0]} is of {kind} pictures, {task.dataset} is not", "choose another prior"
        )
    return shape, classes


def _made_with(
    task: PictureTask, separator: PictureSeparator, settings: Mapping[str, Any], place: str
) -> dict[str, Any]:
    """What a record says of the separator."""
    from sepcli.catalog import card as cards

    found = [cards.find(prior)[0] for prior in task.priors]
    names = [card.name for card in found]
    files = {card.name: {name: entry["sha256"] for name, entry in card.files.items()} for card in found}
    return {
        "prior": names[0] if len(names) == 1 else names,
        "files": files[names[0]] if len(names) == 1 else files,
        "sampler": repr(separator.sampler),
        "settings": dict(settings),
        "device": place,
    }


def _run(task: PictureTask, made_with: Mapping[str, Any], place: str, on_step: Any) -> PictureRun:
    import torch

    from sepcli.evaluation.picture_runs import PictureRun
    from sepcli.evaluation.picture_sets import open_networks

    metrics = tuple(metric for metric in task.metrics if metric != Metric.NLL) or ("psnr",)
    return PictureRun(
        metrics=metrics,
        networks=open_networks(metrics, task.inception, torch.device(place)),
        seed=task.counts["seed"],
        batch=task.counts["batch"],
        draws=task.chosen["draws"] or 1,
        settings=made_with,
        journal=task.kept.journal,
        replace_journal=task.kept.overwrite,
        on_step=on_step,
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
        apart = rows["colours"].mean
        console.note(f"{method}: draws differ by {apart:.3g} steps of 8 bits (rms)", quiet)
