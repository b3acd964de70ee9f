"""What the options of ``sepcli evaluate`` take, and which of them go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sepcli.errors import UsageError
from sepcli.metrics import METRICS, find

CROSS = "cross-likelihood"


class Dataset(StrEnum):
    """What ``--dataset`` takes."""

    BUILTIN = "builtin"
    PAIRS = "pairs"
    MNIST = "mnist"
    CIFAR10 = "cifar10"
    IMAGES = "images"
    MUSDB = "musdb"
    SLAKH = "slakh"
    TOY_WAVES = "toy-waves"


MADE = frozenset({Dataset.BUILTIN, Dataset.TOY_WAVES})
"""What needs no folder."""
OF_IMAGES = frozenset({Dataset.MNIST, Dataset.CIFAR10, Dataset.IMAGES})


class Subset(StrEnum):
    """What ``--subset`` takes."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"


class Split(StrEnum):
    """What ``--split`` takes."""

    CLASS = "class"
    NONE = "none"


class Task(StrEnum):
    """What ``--task`` takes."""

    SEPARATE = "separate"
    COLORIZE = "colorize"


def parse_metrics(words: Sequence[str]) -> tuple[str, ...]:
    """Return the names of metrics in words such as ``psnr,ssim``, each once; groups by their members.

    Raises:
        UsageError: there is no such metric.
    """
    return tuple(metric.name for metric in find(name.strip() for word in words for name in word.split(",")))


@dataclass(frozen=True)
class Words:
    """Options that have to fit each other."""

    dataset: Dataset | None
    data: Sequence[Path]
    subset: Subset | None
    split: Split
    task: Task
    metrics: Sequence[str]
    priors: Sequence[str]
    inception: Path | None
    finished: bool
    """Whether finished estimates are scored."""
    plotted: bool
    """Whether a histogram is to be drawn."""

    def check(self) -> None:
        """Refuse data, and options of data, that do not fit.

        Raises:
            UsageError: see there.
        """
        if (self.dataset is not None and self.dataset not in MADE) != bool(self.data):
            raise UsageError(
                "--data DIR and --dataset pairs, mnist, cifar10, images, musdb or slakh go together",
                "give both, or neither",
            )
        if self.finished and self.dataset in MADE | OF_IMAGES:
            raise UsageError(
                f"finished estimates are not scored against --dataset {self.dataset}",
                "give the folder of references",
            )
        if self.subset is not None and self.dataset not in (Dataset.MUSDB, Dataset.SLAKH):
            raise UsageError("--subset is for --dataset musdb or slakh", "leave it out")
        self._check_images()

    def _check_images(self) -> None:
        metrics, images = set(self.metrics), self.dataset in OF_IMAGES
        of_items = {name for name in metrics if METRICS[name].scope == "item"}
        of_sets = {name for name in metrics if METRICS[name].scope == "set"}
        of_inception = {name for name in metrics if METRICS[name].network == "inception"}
        labelled = self.dataset in (Dataset.MNIST, Dataset.CIFAR10) and self.task is Task.SEPARATE
        if (of_items and not images and not self.finished) or (self.split is Split.CLASS and not labelled):
            raise UsageError(
                "psnr, ssim and --split are for images",
                "use them with --dataset mnist or cifar10, psnr and ssim also with folders",
            )
        if of_sets and not images:
            raise UsageError(
                f"{', '.join(sorted(of_sets))}: sets are compared of what is separated here",
                "use --dataset mnist, cifar10 or images",
            )
        if "nll" in metrics and not (images and self.task is Task.SEPARATE):
            raise UsageError(
                "nll is of images that a flow separates",
                "use --dataset mnist, cifar10 or images; recordings: --metric cross-likelihood",
            )
        if self.plotted and metrics and metrics <= of_sets:
            raise UsageError(
                "--plot draws the values of items, and a whole set has one",
                "add --metric psnr, or leave out --plot",
            )
        if self.task is Task.COLORIZE and self.dataset not in (Dataset.CIFAR10, Dataset.IMAGES):
            raise UsageError("--task colorize is for color images", "use --dataset cifar10 or images")
        if (self.inception is not None) != bool(of_inception):
            raise UsageError(
                "--inception-weights FILE and --metric fid or is go together",
                "give both, or neither; fd-cifar and fd-mnist need no such file",
            )
        two = self.dataset is Dataset.IMAGES and self.task is Task.SEPARATE
        priors = 0 if self.dataset is Dataset.TOY_WAVES else len(self.priors)
        if max(len(self.data), priors) > (2 if two else 1):
            raise UsageError(
                "several --data or --prior are for pairs of --dataset images, several --prior also for "
                "--dataset toy-waves and --metric cross-likelihood",
                "give one",
            )
