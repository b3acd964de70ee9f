"""Training configuration common to all model families, and checks of output folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sepcli.errors import OutputError
from sepcli.settings import Batch, Tokens, require
from sepcli.training.checkpoints import CHECKPOINT, FINISHED
from sepcli.training.distributed import ALONE, World
from sepcli.training.task import LoopSettings


@dataclass(frozen=True)
class TrainConfig:
    """What to train, on which data, and for how long. Options of one family are in its options dataclass.

    Attributes:
        family: a name of ``sepcli.priors.FAMILIES``.
        data: folder of the data set, or the name of a built-in one.
        out: the prior's folder.
        preset: size of the network, one of the family's presets.
        sources: names of the sources; () for the family's default.
        batch: items per step, of all processes together.
        tokens: tokens or frames per item; 0: items have a fixed length.
        cache: folder for decoded recordings and images; None: decode again.
        init: a trained prior, name or folder, whose weights training starts from.
        loop: budget and rates.
        device: where to train.
        world: the processes that train together; each gets its share of every batch.
        resume: continue an unfinished run.
        overwrite: replace a finished one.
        command: how the run was called, for the card.
        note: a sentence on the data, for the card.
    """

    family: str
    data: Path
    out: Path
    preset: str = "small"
    sources: tuple[str, ...] = ()
    batch: int = 16
    tokens: int = 0
    cache: Path | None = None
    init: str | None = None
    loop: LoopSettings = field(default_factory=LoopSettings)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    world: World = ALONE
    resume: bool = False
    overwrite: bool = False
    command: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse numbers out of range; raise ``UsageError``."""
        require(Batch, batch=self.batch)
        if self.tokens:
            require(Tokens, tokens=self.tokens)

    def identity(self, sources: tuple[str, ...], options: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that determine the weights, ready for JSON: neither output paths nor the budget."""
        fields = {
            "family": self.family,
            "data": self.data.resolve().name,
            "preset": self.preset,
            "sources": sources,
            "batch": self.batch,
            "tokens": self.tokens,
            "init": self.init,
            **options,
        }
        return dict(json.loads(json.dumps(fields)))


def check_free(folder: Path, resume: bool = False, overwrite: bool = False) -> None:
    """Refuse a folder with an unfinished run or a finished part, unless it is resumed or overwritten.

    A finished run is resumed, which extends it, from its last checkpoint.

    Raises:
        OutputError: it holds one.
    """
    unfinished = (folder / CHECKPOINT).exists()
    if unfinished and not (resume or overwrite):
        raise OutputError(f"{folder} holds an unfinished run", "resume or overwrite it", argument="out")
    extended = resume and (folder / FINISHED).exists()
    if (folder / "config.json").exists() and not (overwrite or unfinished or extended):
        lacks = f", without the {FINISHED} that a longer run continues from" if resume else ""
        raise OutputError(
            f"{folder} holds a finished part{lacks}", "choose another folder, or overwrite it", argument="out"
        )


def check_alone(folder: Path) -> None:
    """Refuse a part of a prior's folder beside another one, for families that are a prior by themselves.

    Raises:
        OutputError: there is another part.
    """
    others = sorted(p.parent.name for p in folder.parent.glob("*/config.json") if p.parent != folder)
    if others:
        raise OutputError(
            f"{folder.parent} is a prior with another part: {others[0]}",
            "choose another folder",
            argument="out",
        )
