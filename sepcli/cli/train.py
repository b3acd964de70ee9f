"""``sepcli train-prior``: from a folder of clean recordings to a part of a prior."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from sepcli.cli import console
from sepcli.errors import UsageError


def train_prior(
    data: Annotated[
        Path, typer.Option("--data", help="Data set in Slakh2100's layout (train/, validation/).")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The prior's folder; each family writes its part of it.")
    ],
    family: Annotated[
        str, typer.Option(help="vqvae (the codec, first) or transformer (over its tokens).")
    ] = "vqvae",
    preset: Annotated[
        str, typer.Option(help="Size of the network: tiny, small (CPU), base (GPU).")
    ] = "small",
    sources: Annotated[str, typer.Option(help="Instrument classes, separated by commas.")] = "drums,bass",
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
    seed: Annotated[int, typer.Option(help="Of all randomness.")] = 0,
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

    defaults = {"vqvae": (24, 192, 2e-3), "transformer": (16, 512, 1e-3)}.get(family, (1, 16, 1e-3))
    names = tuple(name.strip() for name in sources.split(",") if name.strip())
    request = prepare.Request(
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
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if not match:
        raise UsageError(f"'{text}' is not a duration", "write for example 90s, 40m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
