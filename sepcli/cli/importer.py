"""``sepcli import-prior``: from a checkpoint that others released to a prior."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sepcli.cli import console
from sepcli.errors import UsageError


def import_prior(
    checkpoint: Annotated[
        Path, typer.Argument(help="The checkpoint, a file of torch.save; only weights are read from it.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The prior's folder.")],
    family: Annotated[
        str, typer.Option(help="ncsn: the score networks of Song & Ermon 2019, for pictures.")
    ] = "ncsn",
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the pictures it was trained on (default: 28 grey, 32 colour)."),
    ] = None,
    sources: Annotated[str, typer.Option(help="What the pictures are of, one name.")] = "digit",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make a prior of a released checkpoint, without running anything that it holds."""
    if family != "ncsn":
        raise UsageError(f"there is no importer for the family '{family}'", "use --family ncsn")
    if not sources.strip() or "," in sources:
        raise UsageError(f"--sources {sources!r} does not name one source", "write for example digit")
    from dataclasses import asdict

    from sepcli.training.importer import import_ncsn

    config = import_ncsn(checkpoint, out, source=sources.strip(), size=size, overwrite=overwrite)
    if as_json:
        console.emit_json({"out": str(out), "family": family, "config": asdict(config)})
    else:
        console.emit(
            f"{out}: {config.levels} noise levels, width {config.width}, {config.channels} channel(s)"
        )
