"""``sepcli import-prior``: from a released checkpoint to a prior."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from sepcli.cli import console
from sepcli.cli import options as shared
from sepcli.errors import UsageError


def import_prior(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="File of torch.save, or folder of diffusers; nothing in it is run."),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", rich_help_panel=shared.FILES, help="The prior's folder.")
    ],
    family: Annotated[
        str,
        typer.Option(
            rich_help_panel=shared.MODEL,
            help="ncsn: a score network of Song & Ermon 2019. diffusers: a diffusion model whose weights are"
            " a pickle.",
        ),
    ] = "ncsn",
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            rich_help_panel=shared.MODEL,
            help="For ncsn: side of the training images. Default: 28 for gray images, 32 for color.",
        ),
    ] = None,
    sources: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=shared.MODEL,
            help="Name of what the images show. Default: digit, for diffusers the folder's name.",
        ),
    ] = None,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Make a prior from a released checkpoint, without running anything in it."""
    if family not in ("ncsn", "diffusers"):
        raise UsageError(
            f"there is no importer for the family '{family}'", "use --family ncsn or --family diffusers"
        )
    if sources is not None and (not sources.strip() or "," in sources or not sources.isprintable()):
        raise UsageError(f"--sources {sources!r} does not name one source", "write for example digit")
    if family == "ncsn" and os.path.isdir(checkpoint):
        raise UsageError(f"{checkpoint} is a folder", "name a file, or for diffusers add --family diffusers")
    source = None if sources is None else sources.strip()
    if family == "diffusers":
        if size is not None:
            raise UsageError("--size is for the family ncsn", "leave it out: the config says the size")
        config, summary = _import_diffusers(checkpoint, out, source, overwrite)
    else:
        config, summary = _import_ncsn(checkpoint, out, source or "digit", size, overwrite)
    if as_json:
        console.emit_json({"out": str(out), "family": family, "config": config})
    else:
        console.emit(f"{out}: {summary}")


def _import_ncsn(
    checkpoint: Path, out: Path, source: str, size: int | None, overwrite: bool
) -> tuple[dict[str, Any], str]:
    """Import it; return the config, and a line to print."""
    from dataclasses import asdict

    from sepcli.priors.images.import_ncsn import import_ncsn

    config = import_ncsn(checkpoint, out, source=source, size=size, overwrite=overwrite)
    summary = f"{config.levels} noise levels, width {config.width}, {config.channels} channel(s)"
    return asdict(config), summary


def _import_diffusers(
    folder: Path, out: Path, source: str | None, overwrite: bool
) -> tuple[dict[str, Any], str]:
    """Import it; return the config, and a line to print."""
    from sepcli.priors.images.import_diffusers import import_diffusers

    imported = import_diffusers(folder, out, source=source, overwrite=overwrite, on_message=console.warn)
    height, width = imported.size
    low, high = imported.sigmas[0], imported.sigmas[-1]
    config = {
        "channels": imported.channels,
        "size": [height, width],
        "prediction": imported.prediction,
        "sigma_min": low,
        "sigma_max": high,
        "classes": list(imported.classes),
    }
    summary = f"{width} x {height} pixels, {imported.channels} channel(s), predicts {imported.prediction}"
    return config, f"{summary}, noise from {low:.3g} to {high:.3g}"
