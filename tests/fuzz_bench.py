"""Whole inputs of every kind, copies of them that are damaged, and commands that read them."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from fuzz_inputs import RATE, Seed, audio_seeds, data_sets, image_seeds
from fuzz_mutations import BINARY, Mutation
from PIL import Image
from tiny_priors import write_image_prior, write_lass_prior
from train_request import run as train_prior

from sepcli.cli.app import run
from sepcli.priors.images.denoiser import DenoiserConfig
from sepcli.training.task import LoopSettings

ERROR = re.compile(r"^sepcli\.errors\.\w+: ", re.MULTILINE)


@dataclass
class Bench:
    """A folder with whole inputs of every kind, and one to damage copies in.

    Attributes:
        folder: empty at first.
    """

    folder: Path
    seeds: dict[str, list[Seed]] = field(default_factory=dict)
    whole: dict[Path, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the whole inputs; notes in the log are not printed."""
        logging.getLogger("sepcli").addHandler(logging.NullHandler())
        for name in ("seeds", "work", "sets", "empty"):
            (self.folder / name).mkdir(parents=True)
        self.seeds = {"audio": audio_seeds(self.folder / "seeds"), "image": image_seeds()}
        config = DenoiserConfig(size=(12, 12), widths=(8, 8), blocks=1, embedding=8, classes=("0-4", "5-9"))
        self.images = write_image_prior(self.folder / "images", "digit", config)
        self.lass = write_lass_prior(self.folder / "tiny")
        self.empty = self.folder / "empty"
        self.sets = data_sets(self.folder / "sets")
        self.batch = self.folder / "batch"
        self.batch.mkdir()
        rng = np.random.default_rng(0)
        for name in ("a", "b"):
            soundfile.write(self.batch / f"{name}.wav", 0.1 * rng.standard_normal(2000), RATE)
            Image.fromarray(rng.integers(0, 256, (12, 12), np.uint8)).save(self.batch / f"{name}.png")
        self.training = train_a_little(self.folder / "training")
        self.finished = self.folder / "finished"
        shutil.copytree(self.batch, self.finished)
        assert command("separate", self.finished / "a.png", *self.options(self.finished)) == 0

    def options(self, folder: Path) -> tuple[object, ...]:
        """Options of a command that writes into a folder."""
        return ("--prior", self.images, "-o", folder / "out", "--set", "steps=2", "-q")


def train_a_little(folder: Path, steps: int = 2) -> Path:
    """Train a network of small images, or go on; the folder with the data and the prior."""
    if not folder.exists():
        (folder / "data").mkdir(parents=True)
        rng = np.random.default_rng(0)
        for number in range(8):
            image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
            image.save(folder / "data" / f"{number}.png")
    loop = LoopSettings(seconds=None, steps=steps, warmup=1, validations=1)
    request = {"family": "denoiser", "data": folder / "data", "out": folder / "out", "preset": "tiny"}
    train_prior({**request, "batch": 2, "loop": loop, "device": torch.device("cpu"), "resume": True})
    return folder


def command(*words: object) -> int:
    """Run ``sepcli``; its exit code. Errors that are no ``SepError`` are raised."""
    err = io.StringIO()
    os.environ["SEPCLI_DEBUG"] = "1"
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = run([str(word) for word in words])
    text = err.getvalue()
    if "Traceback" in text:
        assert ERROR.search(text.rpartition("Traceback")[2]), text.splitlines()[-4:]
    assert "unexpected" not in text, text.splitlines()[-2:]
    return code


def damaged_seed(
    bench: Bench, kind: str, rng: np.random.Generator, folder: Path | None = None
) -> tuple[Seed, str, Path]:
    """A damaged copy of a whole file, in a folder: the file, the damage and the copy."""
    seed = bench.seeds[kind][int(rng.integers(len(bench.seeds[kind])))]
    path = (folder or bench.folder / "work") / f"damaged{Path(seed.name).suffix}"
    path.write_bytes(seed.data)
    return seed, damage(path, BINARY, rng), path


def damage(path: Path, mutations: Mapping[str, Mutation], rng: np.random.Generator) -> str:
    """Damage a file; the name of what was done to it."""
    name = str(rng.choice([*mutations]))
    path.write_bytes(mutations[name](path.read_bytes(), rng))
    return name


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of the files in a folder, but for records, which hold times."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path.suffix != ".json"
    }
