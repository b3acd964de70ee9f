"""Options of the command line, declared as dataclasses, and the option of an argument of the library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from sepcli.catalog.card import DEFAULT_STORAGE, STORAGES, Storage
from sepcli.cli import completion
from sepcli.separation.executor import EXECUTORS, ExecutorRow
from sepcli.settings import Samples, Seed, Workers, limits

T = TypeVar("T")


def panel(title: str) -> Callable[..., Any]:
    """Return ``typer.Option`` for a panel of the help texts; its first argument is the help."""

    def option(text: str, *names: str, **rules: Any) -> Any:
        return typer.Option(*names, help=text, rich_help_panel=title, **rules)

    return option


files, model, report, workers = panel("Files"), panel("Model"), panel("Report"), panel("Workers")


def template(one: str, several: str) -> Any:
    """Return ``--filename``; the arguments are its defaults for one sample and for several."""
    text = "Template of file names with {folder} {track} {stem} {ext} {sample} {prior}. Default:"
    return files(f"{text} {one}, {several} for several samples.")


def _executor(row: ExecutorRow) -> str:
    return f"{row.name}{'[:ADDRESS]' if row.addresses else ''} ({row.summary})"


Set = Annotated[
    list[str] | None,
    model(
        "Change a setting of the sampler, the posterior or the windows; repeatable.",
        "--set",
        metavar="KEY=VALUE",
    ),
]
PresetName = Annotated[
    str | None,
    model(
        "What score priors sample from: estimate (sharp, for one answer) or draws (samples of the posterior,"
        " for error bars). Default: estimate; for several --samples draws, of priors whose card says that"
        " they are calibrated, such as mnist.",
        autocompletion=completion.sampling,
    ),
]
Device = Annotated[
    str, model("Compute on auto, cpu, cuda, cuda:N or mps.", autocompletion=completion.devices)
]
Devices = Annotated[
    str,
    workers(
        "Compute on auto, cpu, cuda, cuda:N or mps; on several GPUs with cuda:0,1.",
        "--device",
        autocompletion=completion.devices,
    ),
]
Jobs = Annotated[
    int | None,
    workers(
        "Number of workers: processes with one thread each, or one per GPU. Default: 1, this process; of a"
        " cluster all it has.",
        "-j",
        "--jobs",
        **limits(Workers),
    ),
]
ExecutorName = Annotated[
    str | None,
    workers(
        f"Where the workers run: {', '.join(map(_executor, EXECUTORS.values()))}. Default: serial; for"
        " several jobs processes.",
        "--executor",
        metavar="NAME",
    ),
]
Overwrite = Annotated[bool, files("Replace files that exist.", "--overwrite")]
Quality = Annotated[int, files("Quality of jpg and webp, 1 to 100; webp of 100 is lossless.", min=1, max=100)]
Json = Annotated[bool, report("Print one JSON document.", "--json")]
StorageName = StrEnum("StorageName", {name.upper(): name for name in STORAGES})  # type: ignore[misc]
"""How weights are stored, as an option."""
STORAGE: Mapping[str, Storage] = {name: name for name in STORAGES}
"""Choice of the option → storage."""
BFLOAT16 = StorageName(DEFAULT_STORAGE)
"""The default."""
Quiet = Annotated[bool, report("Print nothing but errors.", "-q", "--quiet")]


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Options of the commands that make several files of every input."""

    out: Path
    filename: str | None = None
    sampler: str | None = None
    preset: PresetName = None
    settings: Set = None
    samples: Annotated[int, model("Number of posterior samples to write.", **limits(Samples))] = 1
    seed: Annotated[int, model("Seed; it decides the samples.", **limits(Seed))] = 0
    device: Devices = "auto"
    jobs: Jobs = None
    executor: ExecutorName = None
    overwrite: Overwrite = False
    resume: Annotated[bool, files("Skip inputs that are finished, with the same options.", "--resume")] = (
        False
    )
    html: Annotated[
        bool,
        files("Also write a page of HTML to listen to or look at the results; see sepcli page.", "--html"),
    ] = False
    replay: Annotated[
        Path | None,
        files(
            "Repeat the run of a run.json with its options, and compare the files. An input or a prior that"
            " has moved is given as in other runs.",
            "--replay",
            metavar="RUN.JSON",
        ),
    ] = None
    dry_run: Annotated[
        bool, report("Print what would be done, with time and memory, and do nothing.", "--dry-run")
    ] = False
    as_json: Json = False
    quiet: Quiet = False


def takes(kind: type[T]) -> Callable[[Callable[[T], None]], Callable[..., None]]:
    """Make a command of a function that takes a dataclass: its fields are options, inherited ones last."""
    hints = get_type_hints(kind, include_extras=True)
    declared = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    defaults = {name: Parameter.empty if value is MISSING else value for name, value in declared.items()}
    order = dict.fromkeys(name for owner in kind.__mro__ for name in vars(owner).get("__annotations__", ()))
    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=defaults[name], annotation=hints[name])
        for name in order
    ]

    def decorate(function: Callable[[T], None]) -> Callable[..., None]:
        @wraps(function)
        def command(**values: Any) -> None:
            function(kind(**values))

        command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = hints
        return command

    return decorate


NAMES: Mapping[str, str] = {
    "workers": "--jobs",
    "priors": "--prior",
    "engine": "--method",
    "settings": "--set",
    "stream": "--set",
    "mixing": "--gray",
    "methods": "--method",
    "metrics": "--metric",
    "container": "--format",
    "depth": "--bit-depth",
}
"""The option of an argument of the library, where the names differ."""
NO_INPUT = "there is no input", "give files, folders or glob patterns, or --replay with the record of a run"
"""The error of a command without inputs."""
KEYS: Mapping[str, str] = {"samples": "draws"}
"""The key of ``--set`` of a setting of the library, where the names differ."""
INPUTS = ("signal", "mixture", "mixtures", "reader")
"""Arguments of the library that no option gives."""


def in_option_words(message: str, argument: str | None) -> str:
    """Return the message of an error of the library with the option that gave its argument.

    Args:
        message: of the error.
        argument: as in ``SepError.argument``, for example ``weights`` or ``settings.steps``; None: unknown.
    """
    if argument is None or argument in INPUTS:
        return message
    name, _, key = argument.partition(".")
    option = NAMES.get(name, f"--{name.replace('_', '-')}")
    if option == "--set" and key not in KEYS and message.startswith(f"{key}="):
        return f"{option} {message}"
    option += f" {KEYS.get(key, key)}" if key and option == "--set" else ""
    return message if option in message else f"{option}: {message}"
