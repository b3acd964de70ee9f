"""Options of ``sepcli evaluate``: values come from the tables, and each kind of run uses some options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import typer

from sepcli.datasets import DATASETS, Dataset
from sepcli.errors import UsageError
from sepcli.metrics import METRICS, find, selectable

CROSS = "cross-likelihood"
COLORIZE = "colorize"
TASKS = ("separate", COLORIZE)
SPLITS = tuple(dict.fromkeys(split for row in DATASETS.values() for split in row.splits))
PAIRINGS = tuple(dict.fromkeys(rule for row in DATASETS.values() for rule in row.pairing))

COMMON = frozenset(
    {"metric", "seed", "device", "out", "plot", "csv", "html", "overwrite", "as_json", "quiet"}
)
_SEPARATING = frozenset(
    {"prior", "method", "dataset", "data", "pairs", "samples", "sampler", "settings", "batch"}
)


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    Attributes:
        name: for messages.
        how: the options that choose it.
        options: parameters that it uses, beside ``COMMON``.
        metrics: names of the metrics that it measures.
    """

    name: str
    how: str
    options: frozenset[str]
    metrics: tuple[str, ...]


def _metrics(medium: str, *scopes: str) -> tuple[str, ...]:
    rows = METRICS.values()
    return tuple(row.name for row in rows if row.selectable and row.medium == medium and row.scope in scopes)


def _datasets(medium: str) -> str:
    return ", ".join(row.name for row in DATASETS.values() if row.medium == medium)


FINISHED = Kind(
    "finished estimates",
    "ESTIMATES and REFERENCES, or --estimates",
    frozenset({"folders", "estimates", "runner", "dataset", "data", "split", "workers", "any_order"}),
    (*_metrics("audio", "track"), *_metrics("image", "item")),
)
AUDIO = Kind(
    "audio that is separated here",
    f"--dataset {_datasets('audio')}",
    _SEPARATING | {"split", "consistency"},
    _metrics("audio", "track"),
)
IMAGES = Kind(
    "images that are separated here",
    f"--dataset {_datasets('image')}",
    _SEPARATING | {"pairing", "task", "inception_weights"},
    _metrics("image", "item", "set", "check"),
)
COLORS = Kind(
    "images that are colorized here",
    f"--task {COLORIZE}",
    IMAGES.options - {"pairing"},
    _metrics("image", "item", "set"),
)
LIKELIHOOD = Kind(
    f"--metric {CROSS}",
    f"--metric {CROSS}",
    frozenset({"prior", "data", "pairs", "noise", "cache", "batch"}),
    (CROSS,),
)
KINDS = (FINISHED, AUDIO, IMAGES, COLORS, LIKELIHOOD)

DatasetName = StrEnum("DatasetName", {name.upper().replace("-", "_"): name for name in DATASETS})  # type: ignore[misc]
SplitName = StrEnum("SplitName", {name.upper(): name for name in SPLITS})  # type: ignore[misc]
PairingName = StrEnum("PairingName", {name.upper(): name for name in PAIRINGS})  # type: ignore[misc]
TaskName = StrEnum("TaskName", {name.upper(): name for name in TASKS})  # type: ignore[misc]

METRIC_HELP = (
    f"Metrics, separated by commas. Audio: {', '.join(_metrics('audio', 'track'))}, bsseval (sdr, isr, "
    f"sir and sar by museval; slow). Images: {', '.join(_metrics('image', 'item', 'check'))}; sets: "
    f"{', '.join(_metrics('image', 'set'))}. Priors of audio: {CROSS}. Default: sdr, or psnr for images."
)
DATASET_HELP = "; ".join(f"{row.name}: {row.summary}" for row in DATASETS.values()) + ". Default: builtin."


def complete_metrics(incomplete: str) -> list[str]:
    """Return the names that complete the last of ``a,b,c``, for the shell."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in selectable() if name.startswith(last)]


def parse_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of metrics in texts such as ``psnr,ssim``, each once; groups by their members.

    Raises:
        UsageError: there is no such metric.
    """
    return tuple(metric.name for metric in find(name.strip() for text in names for name in text.split(",")))


def given_options(context: typer.Context) -> dict[str, str]:
    """Return the parameters that were given, with the options that set them."""
    return {
        str(parameter.name): parameter.opts[-1] if parameter.param_type_name == "option" else "ESTIMATES"
        for parameter in context.command.params
        if getattr(context.get_parameter_source(str(parameter.name)), "name", "") == "COMMANDLINE"
        and context.params.get(str(parameter.name)) not in (None, [], ())
    }


@dataclass(frozen=True)
class Request:
    """Options that must fit each other.

    Attributes:
        given: parameter → its option, of those that were given.
        dataset: the row that was chosen, if any.
        data: folders.
        metrics: names.
        colorize: whether images are colorized.
    """

    given: Mapping[str, str]
    dataset: Dataset | None
    data: Sequence[Path]
    metrics: Sequence[str]
    colorize: bool

    @property
    def kind(self) -> Kind:
        """What is run."""
        if CROSS in self.metrics:
            return LIKELIHOOD
        if self.given.keys() & {"folders", "estimates"}:
            return FINISHED
        if self.dataset is not None and self.dataset.medium == "image":
            return COLORS if self.colorize else IMAGES
        return AUDIO

    def check(self) -> None:
        """Refuse options that the run does not use, and data and metrics that do not fit.

        Raises:
            UsageError: see there.
        """
        kind = self.kind
        for name, option in self.given.items():
            if name not in COMMON | kind.options:
                users = " or ".join(other.how for other in KINDS if name in other.options)
                raise UsageError(f"{option} is not used for {kind.name}", f"leave it out, or give {users}")
        for metric in self.metrics:
            if metric not in kind.metrics:
                raise UsageError(
                    f"--metric {metric} is not for {kind.name}", f"metrics: {', '.join(kind.metrics)}"
                )
        if kind is not LIKELIHOOD:
            self._check_data(kind)
        self._check_metrics()

    def _check_data(self, kind: Kind) -> None:
        row = self.dataset
        if bool(self.data) != (row is not None and row.needs_folder):
            folders = ", ".join(name for name, row in DATASETS.items() if row.needs_folder)
            raise UsageError(f"--data DIR and --dataset {folders} go together", "give both, or neither")
        if row is None:
            row = DATASETS["builtin"]
        if kind is FINISHED and self.given.keys() & {"dataset"} and not (row.finished and row.splits):
            raise UsageError(
                f"finished estimates are not scored against --dataset {row.name}",
                "give the folder of references",
            )
        if kind is COLORS and not row.colors:
            colored = ", ".join(name for name, row in DATASETS.items() if row.colors)
            raise UsageError(f"--task {COLORIZE} is not for --dataset {row.name}", f"use --dataset {colored}")
        most = 1 if kind is COLORS else row.folders
        if len(self.data) > max(most, 1):
            raise UsageError(f"{len(self.data)} --data for --dataset {row.name}", f"give at most {most}")

    def _check_metrics(self) -> None:
        rows = [METRICS[name] for name in self.metrics]
        if any(row.network == "inception" for row in rows) != ("inception_weights" in self.given):
            users = " or ".join(name for name, row in METRICS.items() if row.network == "inception")
            raise UsageError(
                f"--inception-weights FILE and --metric {users} go together",
                "give both, or neither; fd-cifar and fd-mnist need no such file",
            )
        if "plot" in self.given and rows and all(row.scope == "set" for row in rows):
            raise UsageError(
                "--plot shows the values of items, and a whole set has a single one",
                "add --metric psnr, or leave out --plot",
            )


def check_choice(option: str, value: str | None, row: Dataset | None, choices: Sequence[str]) -> None:
    """Refuse a value that a data set does not have.

    Raises:
        UsageError: see there.
    """
    if value is not None and value not in choices:
        where = "without --dataset" if row is None else f"for --dataset {row.name}"
        raise UsageError(
            f"{option} {value} is not a choice {where}", f"choices: {', '.join(choices) or 'none'}"
        )
