"""Imported priors on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import structs
from torch import Tensor

from sepcli.atomic import make_folder
from sepcli.catalog import card as cards
from sepcli.catalog.network import write_config
from sepcli.errors import OutputError
from sepcli.priors.checkpoint import write_clones
from sepcli.priors.lass.gpt import GptConfig
from sepcli.priors.lass.load import CODEC, TRANSFORMER
from sepcli.priors.lass.palette import PaletteConfig
from sepcli.priors.lass.vqgan import VqganConfig
from sepcli.training.checkpoints import forget
from sepcli.training.config import check_free

CodecConfig = VqganConfig | PaletteConfig


def check_target(out: Path, overwrite: bool, parts: Sequence[str] = (CODEC, TRANSFORMER)) -> None:
    """Refuse a folder with one of the parts that are imported, unless it is overwritten, or with others.

    Raises:
        OutputError: there is one.
    """
    for name in parts:
        check_free(out / name, overwrite=overwrite)
    others = sorted(p.parent.name for p in out.glob("*/config.json") if p.parent.name not in parts)
    if others:
        raise OutputError(
            f"{out} is a prior with another part: {others[0]}", "choose another folder", argument="out"
        )


def write_prior(
    out: Path,
    source: str,
    checkpoint: Path,
    settings: Mapping[str, Any],
    codec: tuple[Mapping[str, Tensor], CodecConfig],
    transformer: tuple[Mapping[str, Tensor], GptConfig] | None,
) -> None:
    """Write a prior of images into a folder, its card last, so that it is a prior only when it is complete.

    Args:
        out: the folder.
        source: name of what the images show.
        checkpoint: the file of the weights, which the card names with its sha256.
        settings: of separation.
        codec: weights and config.
        transformer: likewise; None: it is still to be trained.

    Raises:
        OutputError: the folder cannot be written.
    """
    entry: dict[str, Any] = {"checkpoint": checkpoint.name, "sha256": cards.sha256(checkpoint)}
    write_part(out / CODEC, *codec)
    parts = {CODEC: cards.Part("vqvae", entry)}
    if transformer is not None:
        write_part(out / TRANSFORMER, *transformer)
        digest = cards.sha256(out / CODEC / "model.safetensors")
        parts[TRANSFORMER] = cards.Part("transformer", {**entry, "codec": digest})
    card = cards.Card(
        name=out.resolve().name,
        medium="image",
        engine="lass",
        sources=(source,),
        resolution=codec[1].size,
        settings={"lass": dict(settings)},
        parts=parts,
    )
    listed = cards.with_files(card, out).files  # a table of other codes may still lie there
    listed = {name: file for name, file in listed.items() if name.partition("/")[0] in parts}
    cards.write(structs.replace(card, files=listed), out)


def write_part(folder: Path, tensors: Mapping[str, Tensor], config: Any) -> None:
    """Write weights, in float32, and config of a part, a dataclass.

    Raises:
        OutputError: the folder cannot be written.
    """
    make_folder(folder, "choose another folder", "out")
    forget(folder)
    write_clones(folder / "model.safetensors", {name: tensor.float() for name, tensor in tensors.items()})
    write_config(folder, config)
