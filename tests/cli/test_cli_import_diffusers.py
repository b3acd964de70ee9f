"""``sepcli import-prior --family diffusers`` end to end, and the refusals that name it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_server import Hub
from PIL import Image

from sepcli.cli.app import run

pytest.importorskip("diffusers", exc_type=(ImportError, AttributeError))  # or another torch

from tiny_unet import save_ddpm

PICKLE = "unet/diffusion_pytorch_model.bin"
QUICK = ["--set", "steps=3", "--device", "cpu", "-q"]


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    data = np.random.default_rng(0).integers(60, 190, (8, 8, 3), np.uint8)
    Image.fromarray(data).save(tmp_path / "mix.png")
    return tmp_path / "mix.png"


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    """A pipeline as the library saves it with ``safe_serialization=False``."""
    import torch
    from tiny_unet import tiny_unet

    folder = save_ddpm(tmp_path / "church")
    shutil.rmtree(folder / "unet")
    tiny_unet().save_pretrained(folder / "unet", safe_serialization=False)
    assert torch.load(folder / PICKLE, weights_only=True)
    return folder


def imported(folder: Path, out: Path, *more: str) -> int:
    return run(["import-prior", str(folder), "--family", "diffusers", "-o", str(out), *more])


def test_a_pickle_becomes_a_prior_that_separates_as_safetensors_do(
    pickled: Path, mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "prior"
    assert imported(pickled, out, "--sources", "church") == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"{out}: ")
    assert all(part in told.out for part in ("8 x 8", "3 channel", "epsilon", "0.01", "157\n"))
    assert told.err == ""
    assert run(["separate", str(mixture), "--prior", str(out), "-o", str(tmp_path / "a"), *QUICK]) == 0
    safe = save_ddpm(tmp_path / "safe")
    assert run(["separate", str(mixture), "--prior", str(safe), "-o", str(tmp_path / "b"), *QUICK]) == 0
    for number in (1, 2):
        one = Image.open(tmp_path / "a" / "mix" / f"church-{number}.png")
        other = Image.open(tmp_path / "b" / "mix" / f"safe-{number}.png")
        assert np.array_equal(np.asarray(one), np.asarray(other))
    capsys.readouterr()
    assert imported(pickled, out) == 1
    assert str(out) in capsys.readouterr().err
    assert imported(pickled, out, "--overwrite", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["out"], document["family"]) == (str(out), "diffusers")
    assert document["config"]["size"] == [8, 8]
    assert document["config"]["prediction"] == "epsilon"
    assert run(["colorize", str(mixture), "--prior", str(out), "-o", str(tmp_path / "c"), *QUICK]) == 0


def test_a_guessed_noise_schedule_is_warned_of(
    pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(pickled / "scheduler")
    assert imported(pickled, tmp_path / "prior") == 0
    assert "scheduler" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--size", "8"], 2, "--size"),
        (["--sources", "a,b"], 2, "--sources"),
        (["--sources", "a\x1b[2J"], 2, "--sources"),
        (["--family", "ncsn"], 2, "church"),
        (["--family", "unet"], 2, "unet"),
        ([], 1, PICKLE),
    ],
)
def test_what_cannot_be_imported_takes_two_lines(
    pickled: Path,
    more: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (pickled / PICKLE).write_bytes(b"PK\x03\x04")
    assert imported(pickled, tmp_path / "prior", *more) == code
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 2
    assert not (tmp_path / "prior").exists()


def test_refusals_of_pickles_name_the_way_out(
    hub: Hub, pickled: Path, mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.publish("tester/ddpm-church", pickled)
    for prior in (str(pickled), "hf:tester/ddpm-church"):
        assert run(["separate", str(mixture), "--prior", prior, "-o", str(tmp_path / "out"), *QUICK]) == 4
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 2
        assert "sepcli import-prior" in err.splitlines()[1]
    assert not (tmp_path / "out").exists()
    hub.asked.clear()
    assert imported(pickled, tmp_path / "prior") == 0
    assert hub.asked == []
    assert imported(Path("hf:tester/ddpm-church"), tmp_path / "other") == 1
    assert hub.asked == []


def test_asking_for_help_does_not_import_torch() -> None:
    code = "import sys; from sepcli.cli.app import run; run(['import-prior', '--help'])"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
