"""``sepcli import-prior --family vqgan`` end to end: from a checkpoint to two images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from released_vqgan import FIRST, SIDE, first_stage, save_released, second_stage, whole

from sepcli.catalog import card as cards
from sepcli.cli.app import run


def imported(checkpoint: Path, out: Path, *more: str) -> int:
    words = ["import-prior", str(checkpoint), "--family", "vqgan", "-o", str(out), "--heads", "2"]
    return run([*words, "--size", str(SIDE), *more])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder, rng = tmp_path / "images", np.random.default_rng(0)
    folder.mkdir()
    for n in range(12):
        Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(folder / f"{n}.png")
    return folder


def test_from_a_checkpoint_to_two_images(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, prior = save_released(tmp_path / "last.ckpt", whole()), tmp_path / "prior"
    assert imported(checkpoint, prior, "--sources", "face") == 0
    told = capsys.readouterr().out
    assert all(part in told for part in ("16 x 16", "16 tokens", "24 codes", "2 layers", "build-likelihood"))
    assert imported(checkpoint, prior) == 1
    assert imported(checkpoint, prior, "--sources", "face", "--overwrite", "--json") == 0
    capsys.readouterr()
    counted = ["build-likelihood", "--prior", str(prior), "--data", str(images), "--tokens", "2000", "-q"]
    assert run(counted) == 0
    card = cards.read(prior)
    assert (card.sources, card.resolution, card.engine) == (("face",), (SIDE, SIDE), "lass")
    mixture, out = images / "0.png", tmp_path / "out"
    words = ["separate", str(mixture), "--prior", str(prior), "-o", str(out), "--device", "cpu", "-q"]
    assert run([*words, "--set", "refine=2"]) == 0
    assert json.loads((out / "0" / "run.json").read_text())["sampler"] == "ancestral"
    with Image.open(out / "0" / "face-1.png") as face:
        assert face.size == (SIDE, SIDE)


def test_a_first_stage_alone_waits_for_a_transformer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, prior = tmp_path / "first.ckpt", tmp_path / "prior"
    torch.save(first_stage(), checkpoint)
    assert imported(checkpoint, prior, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["config"]) == {"codec"}
    assert set(cards.read(prior).parts) == {"codec"}


@pytest.mark.parametrize(
    ("change", "more", "subject"),
    [
        ({"cond_stage_model.encoder.weight": torch.ones(2)}, (), "conditioned"),
        ({}, ("--size", "12"), "pos_emb|conditioned"),
        ({}, ("--size", "64"), "tokens"),
        ({}, ("--classes", "30"), "classes"),
        ({f"{FIRST}quantize.embedding.weight": torch.ones(20, 8)}, (), "20 codes"),
        ({f"{FIRST}decoder.conv_out.bias": torch.ones(4)}, (), "conv_out"),
        ({f"{FIRST}encoder.conv_in.weight": torch.ones(33, 3, 3, 3)}, (), "VQ-GAN"),
    ],
)
def test_other_networks_are_refused(
    change: dict[str, torch.Tensor],
    more: tuple[str, ...],
    subject: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.save({"state_dict": whole() | change}, tmp_path / "other.ckpt")
    assert imported(tmp_path / "other.ckpt", tmp_path / "prior", *more) == 1
    err = capsys.readouterr().err
    assert any(part in err for part in subject.split("|"))
    assert not (tmp_path / "prior" / "card.toml").exists()


def test_options_of_other_families_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(second_stage(), tmp_path / "a.pth")
    words = ["import-prior", str(tmp_path / "a.pth"), "-o", str(tmp_path / "prior")]
    assert run([*words, "--classes", "3"]) == 2
    assert run([*words, "--heads", "3"]) == 2
    assert "vqgan" in capsys.readouterr().err
    assert imported(tmp_path, tmp_path / "prior") == 2
