"""``sepcli import-prior`` end to end, and a score network from training to separating."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from released_ncsn import released_state, save_released

from sepcli.cli.app import run

DIGITS = Path(__file__).parents[1] / "data" / "digits"


def separate(prior: Path, out: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Separate a small image; the sampler that was used."""
    image = out.parent / "mix.png"
    Image.fromarray(np.random.default_rng(0).integers(60, 190, (8, 8), np.uint8)).save(image)
    words = ["separate", str(image), "--prior", str(prior), "-o", str(out), "--device", "cpu", "-q", *more]
    assert run(words) == 0, capsys.readouterr().err
    capsys.readouterr()
    return json.loads((out / "mix" / "run.json").read_text())["sampler"]


def test_a_checkpoint_becomes_a_prior_that_separates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = save_released(tmp_path / "checkpoint.pth", released_state())
    out = tmp_path / "prior"
    words = ["import-prior", str(checkpoint), "--family", "ncsn", "--out", str(out)]
    assert run(words) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{out}: ")
    assert all(part in told for part in ("10 noise levels", "width 4", "1 channel"))
    assert run(words) == 1
    assert "ncsn" in capsys.readouterr().err
    assert run([*words, "--overwrite", "--size", "20", "--sources", "cat", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["out"], document["config"]["size"]) == (str(out), [20, 20])
    assert separate(out, tmp_path / "a", capsys, "--set", "steps=1", "--set", "levels=2") == "langevin"
    assert (tmp_path / "a" / "mix" / "cat-2.png").is_file()
    assert separate(out, tmp_path / "b", capsys, "--sampler", "projected", "--set", "steps=2") == "projected"


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--family", "glow"], 2, "glow"),
        (["--sources", "a,b"], 2, "--sources"),
        (["--sources", " "], 2, "--sources"),
        (["--size", "0"], 2, "--size"),
        ([], 1, "bad.pth"),
    ],
)
def test_what_cannot_be_imported_takes_two_lines(
    more: list[str], code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.pth").write_bytes(b"PK\x03\x04")
    assert run(["import-prior", str(tmp_path / "bad.pth"), "-o", str(tmp_path / "prior"), *more]) == code
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 2
    assert not (tmp_path / "prior").exists()


def test_a_score_network_is_trained_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prior = tmp_path / "prior"
    words = [
        "train-prior",
        "--family",
        "ncsn",
        "--data",
        str(DIGITS),
        "--out",
        str(prior),
        "--preset",
        "tiny",
    ]
    words += ["--steps", "1", "--batch", "4", "--device", "cpu", "--set", "classes=halves", "-q"]
    assert run(words) == 0
    assert capsys.readouterr().out.startswith(f"{prior / 'ncsn'}: 1 ")
    assert run(words) == 1
    assert run([*words, "--sources", "a,b", "--overwrite"]) == 2
    assert run([*words, "--family", "denoiser"]) == 1
    assert "ncsn" in capsys.readouterr().err
    assert separate(prior, tmp_path / "out", capsys, "--set", "steps=1", "--set", "levels=2") == "langevin"
