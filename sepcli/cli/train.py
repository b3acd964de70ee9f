"""``sepcli train-prior``: from a folder of clean recordings to a part of a prior."""

from __future__ import annotations

import math
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sepcli.cli import console
from sepcli.errors import UsageError


class Classes(StrEnum):
    """What ``--classes`` takes."""

    NONE = "none"
    HALVES = "halves"
    DIGITS = "digits"


CLASSES = {
    Classes.NONE: (),
    Classes.HALVES: ("0-4", "5-9"),
    Classes.DIGITS: tuple("0123456789"),
}
"""The names of the classes."""


def train_prior(
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="Data set in Slakh2100's layout (train/, validation/), or MNIST's files."
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The prior's folder; each family writes its part of it.")
    ],
    family: Annotated[
        str,
        typer.Option(
            help="vqvae (the codec, first), transformer (over its tokens), latent; denoiser (pictures)."
        ),
    ] = "vqvae",
    preset: Annotated[
        str, typer.Option(help="Size of the network: tiny, small (CPU), base (GPU).")
    ] = "small",
    sources: Annotated[
        str | None, typer.Option(help="Instrument classes, separated by commas; drums,bass if not given.")
    ] = None,
    classes: Annotated[
        Classes, typer.Option(help="For a denoiser: classes that it can be told: halves is 0-4 and 5-9.")
    ] = Classes.NONE,
    unlabelled: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of pictures whose class a denoiser is not told.")
    ] = 0.5,
    time_budget: Annotated[
        str, typer.Option(help="How long to train, all runs together: 90s, 40m, 2h.")
    ] = "40m",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train for so many steps instead of --time-budget.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Chunks per step.")] = None,
    tokens: Annotated[int | None, typer.Option(min=16, help="Tokens per chunk.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the cosine schedule.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for decoded recordings (default: OUT/cache).")
    ] = None,
    note: Annotated[str, typer.Option(help="A sentence on the data, for the prior's card.")] = "",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of all randomness.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue an unfinished run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train a codec or an autoregressive prior on clean recordings; stop and resume at will."""
    seconds = None if steps else parse_duration(time_budget)
    from sepcli.cli.device import choose_device
    from sepcli.training import prepare
    from sepcli.training.loop import LoopSettings
    from sepcli.training.request import Request

    defaults = {
        "vqvae": (24, 192, 2e-3),
        "transformer": (16, 512, 1e-3),
        "denoiser": (128, 0, 1e-3),
    }.get(family, (16, 256, 2e-3))
    if family != "denoiser" and classes is not Classes.NONE:
        raise UsageError(f"--classes is for a denoiser, not for a {family}", "leave it out")
    if family == "denoiser" and "," in (sources or ""):
        raise UsageError(f"a denoiser is a prior of one kind of source, not of {sources}", "name one")
    if sources is None:
        sources = "digit" if family == "denoiser" else "drums,bass"
    names = tuple(name.strip() for name in sources.split(",") if name.strip())
    if len({name.casefold() for name in names}) < max(1, len(names)):
        raise UsageError(f"--sources {sources!r} does not name sources", "write for example drums,bass")
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise UsageError(f"a learning rate of {learning_rate:g} trains nothing", "write for example 0.001")
    if resume and overwrite:
        raise UsageError("--resume and --overwrite contradict each other", "give one of them")
    request = Request(
        family=family,
        data=data,
        out=out,
        preset=preset,
        sources=names,
        weights=(1 / len(names),) * len(names),
        batch=batch or defaults[0],
        tokens=tokens or defaults[1],
        cache=cache or out / "cache",
        device=choose_device(device),
        loop=LoopSettings(
            seconds=seconds, steps=steps, learning_rate=learning_rate or defaults[2], seed=seed
        ),
        resume=resume,
        overwrite=overwrite,
        command="sepcli " + " ".join(sys.argv[1:]),
        data_note=note,
        classes=CLASSES[classes],
        unlabelled=unlabelled,
    )

    def log(entry: dict[str, float]) -> None:
        console.note("  ".join(f"{key} {value:g}" for key, value in entry.items()), quiet)

    with console.progress(f"train {family}", quiet) as on_step:
        progress = prepare.run(request, on_step, log)
    if as_json:
        console.emit_json(
            {"out": str(out), "family": family, "steps": progress.step, "history": progress.history}
        )
    else:
        console.emit(f"{out / prepare.PARTS[family]}: {progress.step} steps, best at {progress.best_step}")


def parse_duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``40m`` or ``1.5h``."""
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d+)?)\s*([smh]?)\s*", text, re.ASCII)
    if not match or float(match[1]) == 0:
        raise UsageError(f"'{text}' is not a duration", "write for example 90s, 40m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
