"""``sepcli import-prior``: from a released checkpoint, or a prior in another storage, to a prior."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sepcli.cli import completion, console
from sepcli.cli.options import STORAGE, Json, Overwrite, StorageName, files, model
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.priors.images.diffusers import DiffusionUnetConfig
    from sepcli.priors.lass.import_musicgen import ImportedMusic
    from sepcli.priors.lass.import_vqgan import Imported

LARGE = 0.05
"""Relative error of weights stored as a difference of which the command warns; no bundled prior has more."""
FOLDERS = ("diffusers", "imagegpt", "musicgen")
"""Families that are imported from a folder; their configs say the size."""


def import_prior(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="File of torch.save, or folder of diffusers or transformers; nothing in it is run. With"
            " --storage: a prior, name or folder."
        ),
    ],
    out: Annotated[Path, files("The prior's folder.", "-o", "--out")],
    family: Annotated[
        str,
        model(
            "ncsn: a score network of Song & Ermon 2019. diffusers: a diffusion model whose weights are a"
            " pickle. vqgan: a codec and transformer of taming-transformers, for LASS."
            " imagegpt: a folder of transformers, with its palette, for LASS."
            " musicgen: a folder of transformers, for LASS; needs the extra music.",
            autocompletion=completion.imported_families,
        ),
    ] = "ncsn",
    size: Annotated[
        int | None,
        model(
            "For ncsn and vqgan: side of the training images. Default: 256 for vqgan, else 28 for gray"
            " images and 32 for color.",
            min=1,
            max=4096,
        ),
    ] = None,
    classes: Annotated[
        int | None,
        model(
            "For vqgan: classes that the transformer is conditioned on. Default: none.", min=1, max=100_000
        ),
    ] = None,
    heads: Annotated[
        int | None,
        model("For vqgan: heads of attention. Default: as many as have 64 dimensions.", min=1, max=4096),
    ] = None,
    sources: Annotated[
        str | None,
        model(
            "Name of what the images show, or of the instrument. Default: digit, for diffusers the folder's"
            " name, for vqgan and imagegpt image, for musicgen music."
        ),
    ] = None,
    storage: Annotated[
        StorageName | None,
        model("Convert the weights of a prior: two bytes each, or about one with a scale per channel."),
    ] = None,
    base: Annotated[
        str | None,
        model(
            "With --storage: the bundled prior that the prior was trained from. Weights are stored as a"
            " difference of low rank from those of the bundled prior.",
            autocompletion=completion.priors,
        ),
    ] = None,
    rank: Annotated[
        int | None,
        model("With --base: rank of the difference. Default: that of the training, or 48.", min=1, max=4096),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a prior from a released checkpoint, without running anything in it.

    With --storage, make a prior from another one, with its weights stored in
    fewer or more bytes.
    """
    if storage is not None:
        given = {"--size": size, "--classes": classes, "--heads": heads, "--sources": sources}
        if unused := [name for name, value in given.items() if value is not None]:
            raise UsageError(f"{unused[0]} is for checkpoints, not for --storage", "leave it out")
        if rank is not None and base is None:
            raise UsageError("--rank is of the difference from --base", "add --base, or leave it out")
        _convert(str(checkpoint), out, storage, overwrite, as_json, base, rank)
        return
    if base is not None or rank is not None:
        raise UsageError("--base and --rank are for --storage", "add --storage int8, or leave them out")
    if family not in completion.IMPORTED:
        raise UsageError(
            f"there is no importer for the family '{family}'",
            f"use one of {', '.join(completion.IMPORTED)}",
        )
    if family != "vqgan" and (classes is not None or heads is not None):
        raise UsageError("--classes and --heads are for the family vqgan", "leave them out")
    if sources is not None and (not sources.strip() or "," in sources or not sources.isprintable()):
        raise UsageError(f"--sources {sources!r} does not name one source", "write for example digit")
    if family not in FOLDERS and os.path.isdir(checkpoint):
        raise UsageError(f"{checkpoint} is a folder", "name a file, or for diffusers add --family diffusers")
    if family in FOLDERS and size is not None:
        raise UsageError(f"--size is not for {family}", "leave it out: the config says the size")
    source = None if sources is None else sources.strip()
    if family == "diffusers":
        from sepcli.priors.images.import_diffusers import import_diffusers

        imported = import_diffusers(
            checkpoint, out, source=source, overwrite=overwrite, on_message=console.warn
        )
        config, summary = _of_diffusers(imported)
    elif family == "imagegpt":
        from sepcli.priors.lass.import_imagegpt import import_imagegpt

        pixels = import_imagegpt(checkpoint, out, source=source or "image", overwrite=overwrite)
        config = asdict(pixels)
        sizes = f"{pixels.context} pixels of {pixels.vocabulary} colors, {pixels.layers} layers"
        summary = f"{sizes}; next, run build-likelihood"
    elif family == "musicgen":
        from sepcli.priors.lass.import_musicgen import import_musicgen

        music = import_musicgen(checkpoint, out, source=source or "music", overwrite=overwrite)
        config, summary = _of_musicgen(music)
    elif family == "vqgan":
        from sepcli.priors.lass.import_vqgan import import_vqgan

        stages = import_vqgan(
            checkpoint,
            out,
            source=source or "image",
            size=size or 256,
            classes=classes or 0,
            heads=heads,
            overwrite=overwrite,
        )
        config, summary = _of_vqgan(stages)
    else:
        from sepcli.priors.images.import_ncsn import import_ncsn

        ncsn = import_ncsn(checkpoint, out, source=source or "digit", size=size, overwrite=overwrite)
        config = asdict(ncsn)
        summary = f"{ncsn.levels} noise levels, width {ncsn.width}, {ncsn.channels} channel(s)"
    if as_json:
        console.emit_json({"out": str(out), "family": family, "config": config})
    else:
        console.emit(f"{out}: {summary}")


def _convert(
    prior: str,
    out: Path,
    storage: StorageName,
    overwrite: bool,
    as_json: bool,
    base: str | None,
    rank: int | None,
) -> None:
    """Convert a prior; print the relative errors of its weights, and warn of large ones of a difference."""
    from sepcli.priors.convert import convert

    errors = convert(prior, out, STORAGE[storage], overwrite=overwrite, base=base, rank=rank)
    for part, error in errors.items():
        if base is not None and error > LARGE:
            console.warn(
                f"{part} changes by {error:.0%}: choose the base that it was trained from, or a higher --rank"
            )
    if as_json:
        console.emit_json({"out": str(out), "storage": storage.value, "relative_errors": errors})
    else:
        listed = ", ".join(f"{part} {error:.2g}" for part, error in errors.items())
        console.emit(f"{out}: {storage.value}, relative error of the weights: {listed}")


def _of_vqgan(imported: Imported) -> tuple[dict[str, Any], str]:
    """Return the configs and a line to print, with what the prior still lacks."""
    codec, transformer = imported.codec, imported.transformer
    height, width = codec.size
    summary = f"{width} x {height} pixels, {codec.tokens} tokens of {codec.vocabulary} codes"
    if transformer is None:
        return {"codec": asdict(codec)}, f"{summary}; train a transformer, then run build-likelihood"
    classes = len(transformer.sources) - 1
    kinds = f", {classes} classes" if classes else ""
    configs = {"codec": asdict(codec), "transformer": asdict(transformer)}
    return configs, f"{summary}, {transformer.layers} layers{kinds}; next, run build-likelihood"


def _of_musicgen(imported: ImportedMusic) -> tuple[dict[str, Any], str]:
    """Return the configs and a line to print."""
    codec, decoder = imported.codec, imported.decoder
    sizes = f"{decoder.codebooks} codebooks of {decoder.vocabulary} codes, {decoder.layers} layers"
    configs = {"codec": asdict(codec), "transformer": asdict(decoder)}
    return configs, f"{codec.sample_rate} Hz, {sizes}"


def _of_diffusers(imported: DiffusionUnetConfig) -> tuple[dict[str, Any], str]:
    """Return the config and a line to print."""
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
