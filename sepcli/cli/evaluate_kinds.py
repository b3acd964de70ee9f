"""Kinds of runs of ``sepcli evaluate``: each uses some of the options, data sets and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sepcli.cli.evaluate_options import COLORIZE, CROSS, EvaluateOptions, metrics_of
from sepcli.datasets import DATASETS, Dataset
from sepcli.errors import UsageError
from sepcli.metrics import METRICS, find

COMMON = frozenset(
    {
        *("metric", "seed", "device", "jobs", "executor"),
        *("out", "plot", "csv", "html", "overwrite", "table", "as_json", "quiet", "previews"),
    }
)
_SEPARATING = frozenset(
    {"prior", "method", "dataset", "data", "pairs", "samples", "sampler", "preset", "settings", "batch"}
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


def _datasets(medium: str) -> str:
    return ", ".join(row.name for row in DATASETS.values() if row.medium == medium)


FINISHED = Kind(
    "finished estimates",
    "ESTIMATES and REFERENCES, or --estimates",
    frozenset({"folders", "estimates", "runner", "dataset", "data", "split", "any_order", "pairs"}),
    (*metrics_of("audio", "track"), *metrics_of("image", "item")),
)
AUDIO = Kind(
    "audio that is separated here",
    f"--dataset {_datasets('audio')}",
    _SEPARATING | {"split", "consistency"},
    metrics_of("audio", "track"),
)
IMAGES = Kind(
    "images that are separated here",
    f"--dataset {_datasets('image')}",
    _SEPARATING | {"pairing", "sources", "task", "inception_weights"},
    metrics_of("image", "item", "set", "check"),
)
COLORS = Kind(
    "images that are colorized here",
    f"--task {COLORIZE}",
    IMAGES.options - {"pairing", "sources"},
    metrics_of("image", "item", "set"),
)
LIKELIHOOD = Kind(
    f"--metric {CROSS}",
    f"--metric {CROSS}",
    frozenset({"prior", "data", "pairs", "noise", "cache", "batch"}),
    (CROSS,),
)
CALIBRATION = Kind(
    "--calibration",
    "--calibration",
    _SEPARATING | {"calibration", "pairing", "folders"},
    (),
)
KINDS = (FINISHED, AUDIO, IMAGES, COLORS, LIKELIHOOD, CALIBRATION)


@dataclass(frozen=True)
class Request:
    """What is evaluated.

    Attributes:
        options: of the command.
        kind: of run.
        dataset: the data set; the small built-in one if none was chosen.
        metrics: names; may be none.
        given: parameter → its option, of those that were given.
    """

    options: EvaluateOptions
    kind: Kind
    dataset: Dataset
    metrics: tuple[str, ...]
    given: Mapping[str, str]

    @property
    def data(self) -> Sequence[Path]:
        """Folders of the data set."""
        return self.options.data or ()

    @property
    def priors(self) -> Sequence[str]:
        """Names or folders."""
        return self.options.prior or ()

    @property
    def has_networks(self) -> bool:
        """Whether anything but baselines, which compute on processors, is evaluated."""
        methods = self.options.method or ()
        blind = bool(methods) and all(method.is_baseline for method in methods) and not self.priors
        return self.kind != FINISHED and not (self.kind == AUDIO and blind)


def request_of(options: EvaluateOptions) -> Request:
    """Return what is evaluated, after a check of options that must fit each other.

    Raises:
        UsageError: there is no such metric, the run does not use an option, or data and metrics do not fit.
    """
    names = (name.strip() for text in options.metric or () for name in text.split(","))
    metrics = tuple(metric.name for metric in find(names))
    given = _given(options)
    row = DATASETS[options.dataset] if options.dataset else None
    kind = AUDIO
    if CROSS in metrics:
        kind = LIKELIHOOD
    elif options.calibration:
        kind = CALIBRATION
    elif given.keys() & {"folders", "estimates"}:
        kind = FINISHED
    elif row is not None and row.medium == "image":
        kind = COLORS if options.task == COLORIZE else IMAGES
    request = Request(options, kind, row or DATASETS["builtin"], metrics, given)
    for name, option in given.items():
        if name not in COMMON | kind.options:
            users = " or ".join(other.how for other in KINDS if name in other.options)
            raise UsageError(f"{option} is not used for {kind.name}", f"leave it out, or give {users}")
    for metric in metrics:
        if metric not in kind.metrics:
            raise UsageError(
                f"--metric {metric} is not for {kind.name}", f"metrics: {', '.join(kind.metrics)}"
            )
    if kind != LIKELIHOOD:
        _check_data(request)
    _check_metrics(request)
    _check_choices(request)
    return request


def _given(options: EvaluateOptions) -> dict[str, str]:
    context = options.context
    return {
        str(parameter.name): parameter.opts[-1] if parameter.param_type_name == "option" else "ESTIMATES"
        for parameter in context.command.params
        if getattr(context.get_parameter_source(str(parameter.name)), "name", "") == "COMMANDLINE"
        and context.params.get(str(parameter.name)) not in (None, [], ())
    }


def _check_data(request: Request) -> None:
    row, kind, data = request.dataset, request.kind, request.data
    if bool(data) != row.needs_folder:
        folders = ", ".join(name for name, row in DATASETS.items() if row.needs_folder)
        raise UsageError(f"--data DIR and --dataset {folders} go together", "give both, or neither")
    if kind == FINISHED and "dataset" in request.given and not (row.finished and row.splits):
        raise UsageError(
            f"finished estimates are not scored against --dataset {row.name}",
            "give the folder of references",
        )
    if kind == COLORS and not row.colors:
        colored = ", ".join(name for name, row in DATASETS.items() if row.colors)
        raise UsageError(f"--task {COLORIZE} is not for --dataset {row.name}", f"use --dataset {colored}")
    most = 1 if kind == COLORS else row.folders
    if len(data) > max(most, 1):
        raise UsageError(f"{len(data)} --data for --dataset {row.name}", f"give at most {most}")


def _check_metrics(request: Request) -> None:
    rows = [METRICS[name] for name in request.metrics]
    if any(row.network == "inception" for row in rows) != ("inception_weights" in request.given):
        users = " or ".join(name for name, row in METRICS.items() if row.network == "inception")
        raise UsageError(
            f"--inception-weights FILE and --metric {users} go together",
            "give both, or neither; fd-cifar and fd-mnist need no such file",
        )
    if "plot" in request.given and rows and all(row.scope == "set" for row in rows):
        raise UsageError(
            "--plot shows the values of items, and a whole set has a single one",
            "add --metric psnr, or leave out --plot",
        )


def _check_choices(request: Request) -> None:
    """Refuse a split or pairing that the data set does not have."""
    options, row = request.options, request.dataset
    for option, value, choices in (
        ("--split", options.split, row.splits),
        ("--pairing", options.pairing, row.pairing),
    ):
        if value is not None and value not in choices:
            where = f"for --dataset {row.name}" if options.dataset else "without --dataset"
            raise UsageError(
                f"{option} {value} is not a choice {where}", f"choices: {', '.join(choices) or 'none'}"
            )
