"""Networks of diffusers from the Hub to separated images, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hub_server import Hub
from PIL import Image

from sepcli.catalog import card as cards
from sepcli.catalog import index
from sepcli.cli.app import run

pytest.importorskip("diffusers", exc_type=(ImportError, AttributeError))  # or another torch

from tiny_unet import save_ddpm

QUICK = ["--set", "steps=3", "--device", "cpu"]


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    data = np.random.default_rng(0).integers(60, 190, (9, 8, 3), np.uint8)
    Image.fromarray(data).save(tmp_path / "mix.png")
    return tmp_path / "mix.png"


def test_two_repositories_separate_a_image(
    hub: Hub,
    mixture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"tiny-church": "tester/ddpm-church", "tiny-bedroom": "tester/ddpm-bedroom"}
    monkeypatch.setattr(index, "UNPINNED", names)
    for repo in names.values():
        hub.publish(repo, save_ddpm(tmp_path / repo))
    assert run(["fetch-priors", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["priors"]
    assert {e["name"]: e["repo"] for e in listed if e["where"] == "to fetch"} == names
    assert hub.asked == []
    assert run(["fetch-priors", *names, "-q"]) == 0
    asked = ["separate", str(mixture), "-o", str(tmp_path / "out"), *QUICK, "-q"]
    assert run([*asked, "--prior", "tiny-church", "--prior", "tiny-bedroom"]) == 0
    folder = tmp_path / "out" / "mix"
    parts = [np.asarray(Image.open(folder / f"{name}.png")).astype(float) for name in names]
    assert parts[0].shape == (9, 8, 3)
    record = json.loads((folder / "run.json").read_text())
    assert record["prior"] == list(names)
    assert record["files"][0]["unet/config.json"] == cards.sha256(
        tmp_path / "tester/ddpm-church/unet/config.json"
    )
    assert capsys.readouterr().err == ""


def test_a_word_of_the_hub_is_fetched_when_it_is_used(hub: Hub, mixture: Path, tmp_path: Path) -> None:
    hub.publish("tester/ddpm-tiny", save_ddpm(tmp_path / "saved"))
    assert run(["fetch-priors", "hf:tester/ddpm-tiny", "--dry-run"]) == 0
    asked = ["separate", str(mixture), "-o", str(tmp_path / "out"), *QUICK]
    assert run([*asked, "--prior", "hf:tester/ddpm-tiny"]) == 0
    assert (tmp_path / "out" / "mix" / "ddpm-tiny-2.png").is_file()


def test_a_folder_separates_and_colors(mixture: Path, tmp_path: Path) -> None:
    prior = ["--prior", str(save_ddpm(tmp_path / "saved"))]
    assert run(["separate", str(mixture), "-o", str(tmp_path / "out"), *prior, *QUICK]) == 0
    assert run(["colorize", str(mixture), "-o", str(tmp_path / "colors"), *prior, *QUICK]) == 0
    assert list((tmp_path / "colors").rglob("run.json"))


def test_a_folder_of_pickles_is_refused(
    mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = save_ddpm(tmp_path / "saved")
    weights = saved / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    assert run(["separate", str(mixture), "--prior", str(saved), "-o", str(tmp_path / "out")]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert not (tmp_path / "out").exists()
