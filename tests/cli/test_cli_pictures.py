"""``sepcli separate`` and ``sepcli evaluate`` on pictures, from words to files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepcli.cli.app import run
from sepcli.cli.pictures import parse_weights
from sepcli.errors import UsageError

DIGITS = Path(__file__).parents[1] / "data" / "digits"


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    data = np.random.default_rng(0).integers(60, 190, (12, 14), np.uint8)
    Image.fromarray(data).save(tmp_path / "mix.png")
    return tmp_path / "mix.png"


def separate(prior: Path, mixture: Path, out: Path, *more: str) -> int:
    return run(
        [
            "separate",
            str(mixture),
            "--prior",
            str(prior),
            "-o",
            str(out),
            "--set",
            "steps=3",
            "--device",
            "cpu",
            *more,
        ]
    )


def test_a_picture_becomes_its_sources(tiny_pictures: Path, mixture: Path, tmp_path: Path) -> None:
    assert separate(tiny_pictures, mixture, tmp_path / "out", "--sources", "3") == 0
    folder = tmp_path / "out" / "mix"
    names = [f"digit-{k}.png" for k in (1, 2, 3)]
    assert sorted(p.name for p in folder.iterdir()) == ["contact.png", *names, "run.json"]
    assert np.asarray(Image.open(folder / names[0])).shape == (12, 14)
    record = json.loads((folder / "run.json").read_text())
    assert record["weights"] == pytest.approx([1 / 3] * 3)
    assert record["evaluations"] == 3
    assert record["size"] == [12, 14]
    assert record["sampler"] == "projected"
    assert separate(tiny_pictures, mixture, tmp_path / "out", "--sources", "3") == 1
    assert separate(tiny_pictures, mixture, tmp_path / "out", "--sources", "3", "--resume") == 0


def test_draws_seeds_and_weights(
    tiny_pictures: Path, mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--samples", "2", "--weights", "0.75,0.25", "--json", "-q"]
    stored = []
    for seed in ("1", "1", "2"):
        out = tmp_path / f"out{len(stored)}"
        assert separate(tiny_pictures, mixture, out, "--seed", seed, *options) == 0
        document = json.loads(capsys.readouterr().out)
        assert len(document["pictures"][0]["sources"]) == 2
        stored.append((out / "mix" / "02" / "digit-1.png").read_bytes())
        assert (out / "mix" / "contact.png").is_file()
    assert stored[0] == stored[1] != stored[2]


def test_folders_and_bad_files(
    tiny_pictures: Path, mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mixture.parent / "broken.png").write_bytes(b"x")
    assert separate(tiny_pictures, mixture.parent, tmp_path / "out") == 3
    assert "broken.png" in capsys.readouterr().err
    assert (tmp_path / "out" / "mix" / "digit-2.png").is_file()
    (tmp_path / "empty").mkdir()
    assert separate(tiny_pictures, tmp_path / "empty", tmp_path / "out2") == 1
    assert "no picture" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more",
    [
        ["--weights", "a,b"],
        ["--weights", "1"],
        ["--weights", "1,0"],
        ["--weights", "1,1", "--sources", "3"],
        ["--sampler", "beam"],
        ["--set", "lam=1"],
        ["--format", "wav"],
        ["--filename", "{track}-{stem}.jpg"],
    ],
)
def test_wrong_words_are_refused(tiny_pictures: Path, mixture: Path, tmp_path: Path, more: list[str]) -> None:
    assert separate(tiny_pictures, mixture, tmp_path / "out", *more) == 2
    assert not (tmp_path / "out").exists()


def test_picture_options_are_for_pictures(tiny_prior: Path, mixture: Path, tmp_path: Path) -> None:
    assert (
        run(
            [
                "separate",
                str(mixture),
                "--prior",
                str(tiny_prior),
                "-o",
                str(tmp_path / "o"),
                "--sources",
                "2",
            ]
        )
        == 2
    )


def test_weights() -> None:
    assert parse_weights(None, None) == (0.5, 0.5)
    assert parse_weights(None, 4) == (0.25,) * 4
    assert parse_weights("1,-2", 2) == (1.0, -2.0)
    with pytest.raises(UsageError):
        parse_weights(None, 1)


def test_digits_are_evaluated(
    tiny_pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--dataset", "mnist", "--data", str(DIGITS), "--prior", str(tiny_pictures)]
    words += ["--pairs", "3", "--split", "class", "--set", "steps=2", "--device", "cpu"]
    out = tmp_path / "report.json"
    assert run([*words, "--metric", "psnr", "-o", str(out)]) == 0
    assert "PSNR" in capsys.readouterr().out
    document = json.loads(out.read_text())
    assert set(document["results"]["psnr"]["sepcli"]) == {"0-4", "5-9", "average"}
    assert document["cost"]["evaluations"] == 2
    for wrong in (["--metric", "sdr"], ["--samples", "2"], ["--method", "nmf"], ["--sampler", "beam"]):
        assert run([*words, *wrong]) == 2
    assert run(["evaluate", "--dataset", "mnist", "--data", str(DIGITS)]) == 2
    assert run(["evaluate", "--split", "class"]) == 2


def test_a_denoiser_is_trained_and_used(mixture: Path, tmp_path: Path) -> None:
    words = ["train-prior", "--family", "denoiser", "--data", str(DIGITS), "--out", str(tmp_path / "prior")]
    words += [
        "--preset",
        "tiny",
        "--steps",
        "2",
        "--batch",
        "4",
        "--device",
        "cpu",
        "--classes",
        "halves",
        "-q",
    ]
    assert run(words) == 0
    assert run(words) == 1
    assert run([*words, "--sources", "a,b", "--overwrite"]) == 2
    assert run([*words, "--family", "vqvae", "--overwrite"]) == 2
    assert separate(tmp_path / "prior", mixture, tmp_path / "out", "-q") == 0
