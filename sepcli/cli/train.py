"""``sepcli train-prior``: from a data set of clean sources to a part of a prior."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sepcli.cli import console
from sepcli.cli import options as shared
from sepcli.errors import UsageError
from sepcli.priors import FAMILIES, Family, resolve

TRAINING = "Training"
"""Panel of options in the help."""
NAMES = ", ".join(family.name for family in FAMILIES.values() if family.training)


def train_prior(
    family: Annotated[
        str, typer.Option(rich_help_panel=shared.MODEL, help=f"Model family: {NAMES}.")
    ] = "vqvae",
    preset: Annotated[
        str,
        typer.Option(
            rich_help_panel=shared.MODEL, help="Size of the network: tiny (tests), small (CPU) or base (GPU)."
        ),
    ] = "small",
    sources: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=shared.MODEL,
            help="Names of the sources, separated by commas: classes or stems of songs, a shape of toy waves."
            " Default: drums,bass of songs, otherwise the folder's name.",
        ),
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=shared.MODEL, help="For variational: flow of a source; repeat it for each source."
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=shared.MODEL, help="Start from the weights of this prior, a name or a folder."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            rich_help_panel=shared.MODEL,
            help="Change an option of the family, see --list-options; repeatable.",
        ),
    ] = None,
    list_options: Annotated[
        bool,
        typer.Option(
            "--list-options",
            rich_help_panel=shared.MODEL,
            help="Print the family's options for --set and exit.",
        ),
    ] = False,
    time_budget: Annotated[
        str,
        typer.Option(rich_help_panel=TRAINING, help="Training time, all runs together: 90s, 40m, 2h."),
    ] = "40m",
    steps: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=TRAINING, help="Training steps, instead of --time-budget."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=TRAINING, help="Items per step. Default: the family's."),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            min=16,
            rich_help_panel=TRAINING,
            help="Tokens or frames per item of audio: of 512 samples, or of 256 for flow and variational.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(rich_help_panel=TRAINING, help="Initial learning rate. Default: the family's."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, rich_help_panel=TRAINING, help="Seed of all randomness.")
    ] = 0,
    device: shared.Device = "auto",
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            rich_help_panel=shared.FILES,
            help="Folder of the data: songs in Slakh2100's layout or MUSDB18, recordings, images, MNIST's"
            " files; or the name toy-waves.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            rich_help_panel=shared.FILES,
            help="The prior's folder; a family writes a part of it.",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=shared.FILES, help="Folder for decoded recordings and images. Default: OUT/cache."
        ),
    ] = None,
    note: Annotated[
        str, typer.Option(rich_help_panel=shared.FILES, help="A sentence on the data, for the prior's card.")
    ] = "",
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel=shared.FILES, help="Continue an unfinished run.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=shared.FILES, help="Replace a finished run.")
    ] = False,
    as_json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Train a prior on clean sources; a run can be stopped and resumed."""
    from sepcli.priors.train import family_named

    row = family_named(family)
    if list_options:
        _list_options(row, as_json)
        return
    for option, value in (("--data", data), ("--out", out)):
        if value is None:
            raise UsageError(f"missing option '{option}'", "run `sepcli train-prior --help` for its options")
    assert data is not None and out is not None  # noqa: PT018 (for mypy)
    if resume and overwrite:
        raise UsageError("--resume and --overwrite contradict each other", "give one of them")
    options: dict[str, Any] = parse_options(settings or ())
    if prior:
        options["prior"] = tuple(prior)
    seconds = None if steps else parse_duration(time_budget)
    names = None if sources is None else parse_sources(sources)
    from sepcli.cli.device import choose_device
    from sepcli.priors.train import train, training_of
    from sepcli.training.config import TrainConfig
    from sepcli.training.loop import LoopSettings

    training = training_of(family, data)
    if tokens is not None and not training.tokens:
        raise UsageError("--tokens is for audio, the number of tokens of an image is fixed", "leave it out")
    rate = training.learning_rate if learning_rate is None else learning_rate
    if not 0 < rate < float("inf"):
        raise UsageError(f"--learning-rate {rate:g} is out of range", "give a positive number such as 0.001")
    config = TrainConfig(
        family=family,
        data=data,
        out=out,
        preset=preset,
        sources=names or (),
        batch=batch or training.batch,
        tokens=tokens or training.tokens,
        cache=cache or out / "cache",
        init=init,
        device=choose_device(device),
        loop=LoopSettings(seconds=seconds, steps=steps, learning_rate=rate, seed=seed),
        resume=resume,
        overwrite=overwrite,
        command="sepcli " + " ".join(sys.argv[1:]),
        note=note,
    )

    def log(entry: dict[str, float]) -> None:
        console.note("  ".join(f"{key} {value:g}" for key, value in entry.items()), quiet)

    with console.progress(f"train {family}", quiet) as on_progress:
        progress = train(config, options, on_progress, log, lambda text: console.note(text, quiet))
    if as_json:
        console.emit_json(
            {"out": str(out), "family": family, "steps": progress.step, "history": progress.history}
        )
    else:
        console.emit(f"{out / row.part}: {progress.step} steps, best at {progress.best_step}")


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """``key=value`` pairs to a dict; a key that is repeated has a list of values.

    Raises:
        UsageError: an argument is not of that form.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals):
            raise UsageError(f"--set {pair} is not of the form key=value", "write for example --set flip=0")
        options.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in options.items()}


def parse_sources(text: str) -> tuple[str, ...]:
    """``drums,bass`` to names.

    Raises:
        UsageError: there is none, or one twice.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if len({name.casefold() for name in names}) < max(1, len(names)):
        raise UsageError(f"--sources {text!r} does not name sources", "write for example drums,bass")
    return names


def parse_duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``40m`` or ``1.5h``."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d+)?)\s*([smh]?)\s*", text, re.ASCII)
    if not match or float(match[1]) == 0:
        raise UsageError(f"'{text}' is not a duration", "write for example 90s, 40m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _list_options(row: Family, as_json: bool) -> None:
    from sepcli.cli import option_table

    kinds = {medium: resolve(training.options) for medium, training in row.training.items()}
    if as_json:
        console.emit_json({medium: option_table.rows(kind) for medium, kind in kinds.items()})
        return
    for medium, kind in kinds.items():
        listed = option_table.text(kind) or "no options"
        console.emit(f"{row.name} of {medium}\n\n{listed}\n")
