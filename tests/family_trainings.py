"""One tiny training of every family: in this process, or as a program that ``torchrun`` starts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from train_request import run

from sepcli.training.distributed import ALONE, World, joined
from sepcli.training.task import LoopSettings

STEPS = 6


class Exact(torch.autocast):
    """Autocast that is off: families are then compared to rounding."""

    def __init__(self, device_type: str, *_: object, **__: object) -> None:
        super().__init__(device_type, enabled=False)


LOOP = LoopSettings(seconds=None, steps=STEPS, validations=2, warmup=2, learning_rate=1e-3)
TUNED = LoopSettings(seconds=None, steps=4, validations=1, warmup=2, learning_rate=1e-3)
"""Two levels of two steps each."""


def requests(slakh: Path, images: Path, out: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield folders of parts in ``out``, and the trainings that leave them; later ones need earlier ones."""
    songs = {"data": slakh, "cache": slakh / "cache", "sources": ("drums", "bass"), "tokens": 32}
    pictures = {"data": images, "classes": "folders"}
    drums = {**songs, "sources": ("drums",)}
    toys = {"data": Path("toy-waves"), "tokens": 16}
    flows = tuple(str(out / shape) for shape in ("sine", "square"))
    for name, part, family, fields in (
        ("images", "denoiser", "denoiser", pictures),
        ("ncsn", "ncsn", "ncsn", pictures),
        ("glow", "glow", "glow", pictures),
        ("tarflow", "tarflow", "tarflow", pictures),
        ("glow", "glow", "glow", {**pictures, "finetune_noise": "1", "levels": "2", "loop": TUNED}),
        ("drums", "denoiser", "denoiser", {**drums, "interference": ["bass"]}),
        ("sine", "flow", "flow", {**toys, "sources": ("sine",)}),
        ("square", "flow", "flow", {**toys, "sources": ("square",)}),
        ("both", "encoders", "variational", {**toys, "prior": flows}),
        ("lass", "codec", "vqvae", songs),
        ("lass", "transformer", "transformer", songs),
        ("lass", "latent", "latent", songs),
        ("lass", "context", "context", songs),
        ("tokens", "codec", "vqvae", {"data": images}),
        ("tokens", "transformer", "transformer", pictures),
    ):
        yield f"{name}/{part}", {"family": family, "out": out / name, **fields}


def train_all(slakh: Path, images: Path, out: Path, world: World = ALONE) -> Mapping[str, list[Any]]:
    """Train every family; return the histories by the folders of the parts."""
    common = {"preset": "tiny", "batch": 6, "loop": LOOP, "device": torch.device("cpu"), "world": world}
    return {
        f"{folder} {number}": run({**common, **request}).history
        for number, (folder, request) in enumerate(requests(slakh, images, out))
    }


if __name__ == "__main__":
    torch.autocast = Exact  # type: ignore[misc]
    with joined() as processes:
        train_all(*map(Path, sys.argv[1:4]), processes)
