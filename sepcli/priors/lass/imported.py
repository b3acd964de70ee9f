"""The parts of imported priors on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sepcli.atomic import make_folder
from sepcli.catalog.network import write_config
from sepcli.errors import OutputError
from sepcli.priors.checkpoint import write_clones
from sepcli.priors.lass.load import CODEC, TRANSFORMER
from sepcli.training.checkpoints import forget


def check_others(out: Path) -> None:
    """Refuse a folder with parts of other engines: OutputError."""
    mine = (CODEC, TRANSFORMER)
    others = sorted(p.parent.name for p in out.glob("*/config.json") if p.parent.name not in mine)
    if others:
        raise OutputError(
            f"{out} is a prior with another part: {others[0]}", "choose another folder", argument="out"
        )


def write_part(folder: Path, tensors: Mapping[str, Tensor], config: Any) -> None:
    """Write weights, in float32, and config of a part; OutputError if that is impossible."""
    make_folder(folder, "choose another folder", "out")
    forget(folder)
    write_clones(folder / "model.safetensors", {name: tensor.float() for name, tensor in tensors.items()})
    write_config(folder, config)
