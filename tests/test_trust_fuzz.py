"""Cards, configs, checkpoints and metadata with random bytes: read, or refused in two lines."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sepcli.catalog import card as cards
from sepcli.datasets.slakh2100 import read_stems
from sepcli.errors import SepError
from sepcli.priors.checkpoint import read_state
from sepcli.priors.images.load import load_image_prior
from sepcli.training.checkpoints import Progress, restore, save_run

TRIES = 40
PIECES = (b"", b"\0", b"[", b"{", b'"', b"9" * 30, b"-1", b"nan", b"\xff", b"\n", b"&a *a", b"..", b"1e999")


def harmed(data: bytes, rng: random.Random) -> bytes:
    """Replace, insert or cut bytes at up to three places."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(data) + 1)
        data = data[:start] + rng.choice(PIECES) + data[start + rng.choice((0, 1, 1, 7, 50)) :]
    return data


def fuzz(path: Path, read: Callable[[], object]) -> int:
    """Harm a file often, the header of a large one in half of the tries; return how often it was refused."""
    whole, rng, refused = path.read_bytes(), random.Random(0), 0
    for number in range(TRIES):
        head = whole[:600] if number % 2 else whole
        path.write_bytes(harmed(head, rng) + whole[len(head) :])
        try:
            read()
        except SepError as error:
            refused += bool(error.message and error.hint)
    path.write_bytes(whole)
    return refused


@pytest.mark.parametrize("name", ["card.toml", "denoiser/config.json", "denoiser/model.safetensors"])
def test_files_of_a_prior(tiny_images: Path, tmp_path: Path, name: str) -> None:
    prior = Path(shutil.copytree(tiny_images, tmp_path / "images"))
    assert fuzz(prior / name, lambda: (cards.read(prior), load_image_prior(prior))) > TRIES // 4


def test_checkpoints_of_a_training(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    save_run(tmp_path, {"model": network}, optimizer, Progress(step=3, elapsed=1.0))
    path = tmp_path / "checkpoint.safetensors"
    assert fuzz(path, lambda: restore(tmp_path, {"model": network}, optimizer, {})) > TRIES // 4


@pytest.mark.parametrize("legacy", [False, True])
def test_checkpoints_to_be_imported(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "network.pth"
    torch.save({"weight": torch.ones(40)}, path, _use_new_zipfile_serialization=not legacy)
    assert fuzz(path, lambda: read_state(path)) > TRIES // 4


def test_metadata_of_a_data_set(tmp_path: Path) -> None:
    path = tmp_path / "metadata.yaml"
    path.write_text(
        "audio_dir: stems\nstems:\n" + "".join(f"  S{n:02d}: {{inst_class: Bass}}\n" for n in range(20))
    )
    assert fuzz(path, lambda: read_stems(tmp_path)) > TRIES // 4
