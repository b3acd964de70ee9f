"""``sepcli evaluate --dataset mnist``: sums of two digits, the paper's protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.evaluation.report import Report
    from sepcli.separators import ScoreSeparator

PAIRS = 6000
"""How many pairs the paper scores."""


def score_digits(
    data: Path,
    chosen: Mapping[str, Any],
    counts: Mapping[str, Any],
    split: str,
    metrics: Sequence[str],
    journal: Path | None,
    overwrite: bool,
    quiet: bool,
) -> Report:
    """Separate and score pairs of MNIST's test digits.

    Args:
        data: folder of MNIST's files.
        chosen: ``prior``, ``methods``, ``device``, ``sampler``, ``settings`` (words), ``draws``.
        counts: ``limit`` (pairs), ``seed``, ``batch``.
        split: ``class`` or ``none``.
        metrics: psnr if none, or ssim.
        journal: keeps finished pairs.
        overwrite: whether another run's journal may be dropped.
        quiet: no progress.

    Raises:
        UsageError: something was asked for that digits have not.
    """
    if chosen["prior"] is None:
        raise UsageError("--dataset mnist needs a prior of digits", "give --prior NAME or FOLDER")
    if set(chosen["methods"]) - {"score"} or set(metrics) - {"psnr", "ssim"}:
        raise UsageError("digits are scored by psnr and ssim", "leave out --method and other metrics")
    separator, made_with = _load(chosen, split)
    from sepcli.evaluation.digits import evaluate_digits

    try:
        with console.progress("separating", quiet) as on_step:
            report = evaluate_digits(
                data,
                separator,
                pairs=counts["limit"] or PAIRS,
                split=split,
                metrics=metrics or ("psnr",),
                seed=counts["seed"],
                batch=counts["batch"],
                draws=chosen["draws"] or 1,
                settings=made_with,
                journal=journal,
                replace_journal=overwrite,
                on_step=on_step,
            )
    except KeyboardInterrupt:
        if journal is not None:
            console.note(f"finished pairs are in {journal}; the same command continues", quiet)
        raise
    _note_checks(report, quiet)
    return report


def _note_checks(report: Report, quiet: bool) -> None:
    """What it cost, and how well the separations explain the mixtures."""
    seconds = report.cost.get("seconds_per_pair")
    took = "" if seconds is None else f", {seconds:.2f} s per pair"
    console.note(f"{report.cost['evaluations']:g} evaluations per source{took}", quiet)
    for method, rows in report.results.get("nll", {}).items():
        console.note(f"{method}: {rows['mixture'].mean:.3f} bits per dimension under the prior", quiet)
    for method, rows in report.results["residual"].items():
        left = rows["mixture"].mean
        console.note(f"{method}: the sources miss the mixture by {left:.2g} steps of 8 bits (rms)", quiet)


def _load(chosen: Mapping[str, Any], split: str) -> tuple[ScoreSeparator, dict[str, Any]]:
    """The separator, and what a record says of it."""
    from sepcli.catalog import card as cards
    from sepcli.cli.settings import parse_settings

    given = parse_settings(chosen["settings"])
    card, _ = cards.find(chosen["prior"])
    from sepcli.catalog.score import load_pictures, picture_classes
    from sepcli.cli.device import choose_device
    from sepcli.training.denoiser import HALVES

    place = str(choose_device(chosen["device"]))
    labels = (0, 1) if split == "class" and picture_classes(chosen["prior"]) == HALVES else None
    separator = load_pictures(
        [chosen["prior"]],
        (1.0, 1.0),
        labels=labels,
        device=place,
        sampler=chosen["sampler"],
        settings=given,
    )
    return separator, {
        "prior": card.name,
        "files": {name: entry["sha256"] for name, entry in card.files.items()},
        "sampler": repr(separator.sampler),
        "settings": {**card.settings, **given},
        "class_conditional": labels is not None,
        "device": place,
    }
