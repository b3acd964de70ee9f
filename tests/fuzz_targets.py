"""What reads damaged files, and the promises that it has to keep; a broken promise is an AssertionError.

Whatever the bytes are, reading ends in a result or in a ``SepError``. A file that was only cut short is
refused or read to its full length. A command replaces no file of another program, leaves no temporary files,
and writes all stems of an input or none.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from fuzz_bench import Bench, damage, damaged_seed
from fuzz_inputs import FRAMES, RATE, Seed, fresh
from fuzz_mutations import BINARY, TEXT
from fuzz_runs import read_record, resume_training, separate_batch, separate_to_format
from msgspec import to_builtins

import sepcli
from sepcli import datasets
from sepcli.catalog import card as cards
from sepcli.catalog import index
from sepcli.catalog.card import Card
from sepcli.datasets.songs import song_pairs
from sepcli.errors import SepError
from sepcli.media.audio import AudioReader
from sepcli.media.images import read_image
from sepcli.priors.images.load import load_image_prior

SLACK = 4096
"""Samples by which a lossy file may end before the length that it announces."""
STEP = 1.01 / 255
"""Difference of the values of an image of which a note says that they are read in 8 bits."""
NAMES = ("drums", "bass")


def read_audio(bench: Bench, rng: np.random.Generator) -> str:
    """Read a damaged recording."""
    seed, name, path = damaged_seed(bench, "audio", rng)
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
    seed, name, path = damaged_seed(bench, "image", rng)
    image = read_image(path, first=bool(rng.integers(2)))
    assert image.pixels.ndim == 3
    assert 0 <= image.pixels.min() <= image.pixels.max() <= 1
    if name == "truncate":
        path.write_bytes(seed.data)
        whole, near = read_image(path, first=True).pixels, STEP * bool(image.notes)
        assert np.abs(whole - image.pixels).max() <= near, f"{seed.name} is cut short"
    return f"{seed.name} {name}"


def read_card(bench: Bench, rng: np.random.Generator) -> str:
    """Load a prior whose card is damaged."""
    folder = fresh(bench.images, bench.folder / "work" / "prior")
    bundled = [None, *index.names()][int(rng.integers(1 + len(index.names())))]
    if bundled:
        shutil.copy(index.BUNDLED / bundled / "card.toml", folder)
    name = damage(folder / "card.toml", TEXT, rng)
    card = cards.read(folder)
    cards.write(card, folder)
    assert in_order(cards.read(folder)) == in_order(card)
    sepcli.load(str(folder), device="cpu")
    return f"card {name}"


def in_order(card: Card) -> str:
    """All of a card as text, whose tables are sorted; a number that is none is unequal to itself."""
    return json.dumps(to_builtins(card), sort_keys=True)


def read_network(bench: Bench, rng: np.random.Generator) -> str:
    """Load a prior whose weights or config are damaged, and whose card lists them so."""
    source = bench.images if rng.integers(2) else bench.lass
    folder = fresh(source, bench.folder / "work" / "prior")
    files = cards.part_files(folder)
    path = files[int(rng.integers(len(files)))]
    name = damage(path, TEXT if path.suffix == ".json" else BINARY, rng)
    if source == bench.images:
        load_image_prior(folder)
    else:
        cards.write(cards.with_files(cards.read(folder), folder), folder)
        sepcli.load(str(folder), device="cpu")
    return f"{path.name} {name}"


def read_data_set(bench: Bench, rng: np.random.Generator) -> str:
    """Read all of a data set of which one file is damaged."""
    kind = str(rng.choice(sorted(bench.sets)))
    folder = fresh(bench.sets[kind], bench.folder / "work" / "data")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[int(rng.integers(len(files)))]
    name = damage(path, TEXT if path.suffix == ".yaml" else BINARY, rng)
    lengths = OPENERS[kind](folder)
    if name == "truncate" and path.suffix != ".yaml":
        assert lengths == OPENERS[kind](bench.sets[kind]), f"{kind} with {path.name} cut short"
    return f"{kind} {path.suffix or 'idx'} {name}"


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
    "audio": (read_audio, 32),
    "image": (read_picture, 21),
    "card": (read_card, 10),
    "network": (read_network, 8),
    "record": (read_record, 3),
    "data set": (read_data_set, 10),
    "batch": (separate_batch, 4),
    "output": (separate_to_format, 8),
    "checkpoint": (resume_training, 4),
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


def _frames(seed: Seed) -> int:
    return 3000 if "FLOAT" in seed.name else FRAMES
