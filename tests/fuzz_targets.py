"""What reads damaged files, and the promises that it has to keep; a broken promise is an AssertionError.

Whatever the bytes are, reading ends in a result or in a ``SepError``. A file that was only cut short is
refused or read to its full length. A command replaces no file of another program, leaves no temporary files,
and writes all stems of an input or none.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from fuzz_inputs import FRAMES, RATE, Seed, audio_seeds, data_sets, fresh, image_seeds
from fuzz_mutations import BINARY, TEXT, Mutation
from PIL import Image
from tiny_priors import write_image_prior, write_lass_prior

import sepcli
from sepcli import datasets
from sepcli.catalog import card as cards
from sepcli.catalog import index
from sepcli.cli.app import run
from sepcli.datasets.songs import song_pairs
from sepcli.errors import SepError
from sepcli.media.audio import AudioReader
from sepcli.media.images import read_image
from sepcli.priors.images.denoiser import DenoiserConfig
from sepcli.priors.images.load import load_image_prior

SLACK = 4096
"""Samples by which a lossy file may end before the length that it announces."""
NAMES = ("drums", "bass")
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
        """Make the whole inputs."""
        for name in ("seeds", "work", "sets"):
            (self.folder / name).mkdir(parents=True)
        self.seeds = {"audio": audio_seeds(self.folder / "seeds"), "image": image_seeds()}
        config = DenoiserConfig(size=(12, 12), widths=(8, 8), blocks=1, embedding=8, classes=("0-4", "5-9"))
        self.images = write_image_prior(self.folder / "images", "digit", config)
        self.lass = write_lass_prior(self.folder / "tiny")
        self.sets = data_sets(self.folder / "sets")
        self.batch = self.folder / "batch"
        self.batch.mkdir()
        rng = np.random.default_rng(0)
        for name in ("a", "b"):
            soundfile.write(self.batch / f"{name}.wav", 0.1 * rng.standard_normal(2000), RATE)
            Image.fromarray(rng.integers(0, 256, (12, 12), np.uint8)).save(self.batch / f"{name}.png")
        self.finished = self.folder / "finished"
        shutil.copytree(self.batch, self.finished)
        assert command("separate", self.finished / "a.png", *self.options(self.finished)) == 0

    def options(self, folder: Path) -> tuple[object, ...]:
        """Options of a command that writes into a folder."""
        return ("--prior", self.images, "-o", folder / "out", "--set", "steps=2", "-q")


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


def read_audio(bench: Bench, rng: np.random.Generator) -> str:
    """Read a damaged recording."""
    seed, name, path = _damaged_seed(bench, "audio", rng)
    with AudioReader(path) as reader:
        blocks = [reader.read(5000)]
        while blocks[-1].shape[-1]:
            blocks.append(reader.read(5000))
        count = sum(block.shape[-1] for block in blocks)
        assert count == reader.info.frames > 0
        if name == "truncate" and seed.sized:
            slack = SLACK if reader.info.subtype in ("MP3", "AAC", "OPUS", "VORBIS") else 0
            assert count >= _frames(seed) - slack, f"{seed.name} cut short is read as {count} samples"
    return f"{seed.name} {name}"


def read_picture(bench: Bench, rng: np.random.Generator) -> str:
    """Read a damaged image."""
    seed, name, path = _damaged_seed(bench, "image", rng)
    image = read_image(path, first=bool(rng.integers(2)))
    assert image.pixels.ndim == 3
    assert 0 <= image.pixels.min() <= image.pixels.max() <= 1
    if name == "truncate":
        path.write_bytes(seed.data)
        assert np.array_equal(read_image(path, first=True).pixels, image.pixels), f"{seed.name} is cut short"
    return f"{seed.name} {name}"


def read_card(bench: Bench, rng: np.random.Generator) -> str:
    """Load a prior whose card is damaged."""
    folder = fresh(bench.images, bench.folder / "work" / "prior")
    bundled = [None, *index.names()][int(rng.integers(1 + len(index.names())))]
    if bundled:
        shutil.copy(index.BUNDLED / bundled / "card.toml", folder)
    name = _damage(folder / "card.toml", TEXT, rng)
    card = cards.read(folder)
    cards.write(card, folder)
    assert repr(cards.read(folder)) == repr(card)  # not a number is unequal to itself
    sepcli.load(str(folder), device="cpu")
    return f"card {name}"


def read_network(bench: Bench, rng: np.random.Generator) -> str:
    """Load a prior whose weights or config are damaged, and whose card lists them so."""
    source = bench.images if rng.integers(2) else bench.lass
    folder = fresh(source, bench.folder / "work" / "prior")
    files = cards.part_files(folder)
    path = files[int(rng.integers(len(files)))]
    name = _damage(path, TEXT if path.suffix == ".json" else BINARY, rng)
    if source == bench.images:
        load_image_prior(folder)
    else:
        cards.write(cards.with_files(cards.read(folder), folder), folder)
        sepcli.load(str(folder), device="cpu")
    return f"{path.name} {name}"


def read_record(bench: Bench, rng: np.random.Generator) -> str:
    """Resume and replace a run whose record is damaged."""
    folder = fresh(bench.finished, bench.folder / "work" / "run")
    record = next(folder.rglob("run.json"))
    name = _damage(record, TEXT, rng)
    before = _contents(bench.batch)
    command("separate", folder / "a.png", *bench.options(folder), "--resume")
    assert command("separate", folder / "a.png", *bench.options(folder), "--overwrite") == 0
    json.loads(record.read_bytes())
    after = _contents(folder)
    assert all(after[name] == data for name, data in before.items())
    assert {*after} == {*_contents(bench.finished)}
    return f"run.json {name}"


def read_data_set(bench: Bench, rng: np.random.Generator) -> str:
    """Read all of a data set of which one file is damaged."""
    kind = str(rng.choice(sorted(bench.sets)))
    folder = fresh(bench.sets[kind], bench.folder / "work" / "data")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[int(rng.integers(len(files)))]
    name = _damage(path, TEXT if path.suffix == ".yaml" else BINARY, rng)
    lengths = OPENERS[kind](folder)
    if name == "truncate" and path.suffix != ".yaml":
        assert lengths == OPENERS[kind](bench.sets[kind]), f"{kind} with {path.name} cut short"
    return f"{kind} {path.suffix or 'idx'} {name}"


def separate_batch(bench: Bench, rng: np.random.Generator) -> str:
    """Separate three files, of which one is damaged: the others are separated, and nothing is left over."""
    folder = fresh(bench.batch, bench.folder / "work" / "batch")
    sound = bool(rng.integers(2))
    seed, name, damaged = _damaged_seed(bench, "audio" if sound else "image", rng, folder)
    suffix, prior = (".wav", bench.lass) if sound else (".png", bench.images)
    words = ["--sampler", "greedy"] if sound else ["--set", "steps=2"]
    inputs = [folder / f"a{suffix}", damaged, folder / f"b{suffix}"]
    code = command("separate", *inputs, "--prior", prior, "-o", folder / "out", *words, "-q")
    written = {path.parent.name: path.parent for path in (folder / "out").rglob("run.json")}
    assert {"a", "b"} <= {*written}
    assert (damaged.stem in written) == (code == 0)
    assert code in (0, 3)
    assert not [path for path in folder.rglob("*") if path.name.startswith(".sepcli")]
    for stems in written.values():
        record = json.loads((stems / "run.json").read_bytes())
        assert all((stems / stem).stat().st_size for sample in record["stems"] for stem in sample)
    return f"{seed.name} {name} in a batch"


def _pairs(folder: Path) -> list[int]:
    return [item.sources.shape[-1] for item in datasets.pairs(folder).pairs(10).items(NAMES, 0)]


def _songs(kind: str) -> Callable[[Path], list[int]]:
    def lengths(folder: Path) -> list[int]:
        songs = datasets.resolve(datasets.DATASETS[kind].open)(folder, "test").songs
        return [item.sources.shape[-1] for item in song_pairs(songs, NAMES, RATE)]

    return lengths


OPENERS: Mapping[str, Callable[[Path], list[int]]] = {
    "mnist": lambda folder: [len(datasets.mnist(folder).images), len(datasets.mnist(folder, "train").images)],
    "images": lambda folder: [len(datasets.images(folder).images)],
    "pairs": _pairs,
    "slakh": _songs("slakh"),
    "musdb": _songs("musdb"),
}
TARGETS: Mapping[str, tuple[Callable[[Bench, np.random.Generator], str], int]] = {
    "audio": (read_audio, 40),
    "image": (read_picture, 25),
    "card": (read_card, 10),
    "network": (read_network, 8),
    "record": (read_record, 3),
    "data set": (read_data_set, 10),
    "batch": (separate_batch, 4),
}
"""Kind of input → what reads it, and how many of a hundred inputs are of this kind."""


def try_one(bench: Bench, seed: int, number: int) -> tuple[str, str]:
    """Read input ``number`` of a seed; its kind, and ``read`` or ``refused``; raise otherwise."""
    rng = np.random.default_rng([seed, number])
    kind = kind_of(seed, number)
    with contextlib.chdir(bench.folder / "work"):
        try:
            TARGETS[kind][0](bench, rng)
        except SepError as error:
            if not (error.message.strip() and error.hint.strip()):
                raise AssertionError("an error without words") from error
            return kind, "refused"
    return kind, "read"


def kind_of(seed: int, number: int) -> str:
    """The kind of an input."""
    shares = np.array([share for _, share in TARGETS.values()])
    rng = np.random.default_rng([seed, number, 1])
    return str(rng.choice([*TARGETS], p=shares / shares.sum()))


def _damaged_seed(
    bench: Bench, kind: str, rng: np.random.Generator, folder: Path | None = None
) -> tuple[Seed, str, Path]:
    seed = bench.seeds[kind][int(rng.integers(len(bench.seeds[kind])))]
    path = (folder or bench.folder / "work") / f"damaged{Path(seed.name).suffix}"
    path.write_bytes(seed.data)
    return seed, _damage(path, BINARY, rng), path


def _damage(path: Path, mutations: Mapping[str, Mutation], rng: np.random.Generator) -> str:
    name = str(rng.choice([*mutations]))
    path.write_bytes(mutations[name](path.read_bytes(), rng))
    return name


def _frames(seed: Seed) -> int:
    return 3000 if "FLOAT" in seed.name else FRAMES


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path.suffix != ".json"
    }
