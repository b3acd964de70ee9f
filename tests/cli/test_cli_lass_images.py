"""LASS for images from words to files: train, count, separate, evaluate."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_tokens import make_tokens

from sepcli.catalog import card as cards
from sepcli.cli.app import run
from sepcli.priors.lass.table import LikelihoodTable

DIGITS = Path(__file__).parents[1] / "data" / "digits"


def call(*words: object) -> int:
    return run([*map(str, words), "--device", "cpu"])


def save(path: Path, size: tuple[int, int], seed: int = 0) -> Path:
    data = np.random.default_rng(seed).integers(20, 200, size, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(data).save(path)
    return path


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokens(tmp_path_factory.mktemp("priors") / "tokens")


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    return save(tmp_path / "mix.png", (8, 8))


def two_lines(capsys: pytest.CaptureFixture[str]) -> str:
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    return told[0]


def test_from_images_to_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(12):
        save(tmp_path / "shapes" / f"{n}.png", (8, 8), n)
    data, out = tmp_path / "shapes", tmp_path / "prior"
    train = [
        "train-prior",
        "--data",
        data,
        "--out",
        out,
        "--preset",
        "tiny",
        "--batch",
        6,
        "--steps",
        2,
        "-q",
    ]
    assert call(*train, "--family", "transformer") == 4
    assert "codec" in capsys.readouterr().err
    assert call(*train, "--family", "vqvae") == 0
    assert call(*train, "--family", "vqvae") == 1
    assert "codec" in capsys.readouterr().err
    assert call(*train, "--family", "transformer") == 0
    separate = ["separate", data / "3.png", "--prior", out, "-o", tmp_path / "out", "-q"]
    separate += ["--set", "candidates=2", "--set", "refine=2"]
    assert call(*separate) == 4
    assert "table" in capsys.readouterr().err
    count = ["build-likelihood", "--prior", out, "--data", data, "--tokens", 60, "-q", "--json"]
    count += ["--set", "pairs=8", "--set", "held_out=1"]
    assert call(*count) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["symmetric"] is True
    assert call(*separate) == 0
    folder = tmp_path / "out" / "3"
    names = ["shapes-1.png", "shapes-2.png"]
    assert sorted(p.name for p in folder.iterdir()) == ["contact.png", "run.json", *names]


def test_the_sources_sum_to_the_mixture(tokens: Path, mixture: Path, tmp_path: Path) -> None:
    words = ["separate", mixture, "--prior", tokens, "-o", tmp_path / "out", "-q"]
    assert call(*words, "--samples", 2, "--sampler", "top-k", "--set", "top_k=4") == 0
    folder = tmp_path / "out" / "mix"
    whole = np.asarray(Image.open(mixture)).astype(float)
    stored = [
        [np.asarray(Image.open(folder / draw / f"digit-{k}.png")).astype(float) for k in (1, 2)]
        for draw in ("01", "02")
    ]
    for draw in stored:
        np.testing.assert_allclose(np.mean(draw, axis=0), whole, atol=0.51)  # each is rounded
    assert not np.array_equal(stored[0], stored[1])
    record = json.loads((folder / "run.json").read_text())
    assert record["sampler"] == "top-k"
    settings = record["settings"]
    assert (settings["candidates"], settings["refine"], settings["top_k"]) == (3, 2, 4)
    assert record["report"]["evaluations"] == 4 * 3
    priors = [draw["log_prior"] for draw in record["samples"]]
    assert priors == sorted(priors, reverse=True)


def test_three_sources_sum_to_the_mixture(tokens: Path, mixture: Path, tmp_path: Path) -> None:
    words = ["separate", mixture, "--prior", tokens, "-o", tmp_path / "out", "-q", "--sources", 3]
    assert call(*words, "--set", "sweeps=1") == 0
    folder = tmp_path / "out" / "mix"
    parts = [np.asarray(Image.open(folder / f"digit-{k}.png")).astype(float) for k in (1, 2, 3)]
    np.testing.assert_allclose(
        np.mean(parts, axis=0), np.asarray(Image.open(mixture)).astype(float), atol=0.51
    )
    settings = json.loads((folder / "run.json").read_text())["settings"]
    assert (settings["sweeps"], settings["chains"]) == (1, 4)


@pytest.mark.parametrize("sampler", ["greedy", "ancestral", "beam"])
def test_every_sampler(tokens: Path, mixture: Path, tmp_path: Path, sampler: str) -> None:
    words = ["separate", mixture, "--prior", tokens, "-q", "--method", "lass", "--sampler", sampler]
    for out in ("one", "two"):
        assert call(*words, "-o", tmp_path / out, "--seed", 5) == 0
    one, two = ((tmp_path / out / "mix" / "digit-1.png").read_bytes() for out in ("one", "two"))
    assert one == two


def test_images_of_another_size_fail_alone(
    tokens: Path, mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = save(tmp_path / "large.png", (12, 8))
    words = ["--prior", tokens, "-o", tmp_path / "out", "-q"]
    assert call("separate", large, *words) == 1
    assert "12 x 8" in two_lines(capsys)
    assert call("separate", large, mixture, *words) == 3
    assert (tmp_path / "out" / "mix" / "digit-1.png").is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--weights", "0.5,0.3,0.2"], "weight"),
        (["--weights", "0.7,0.3"], "weight"),
        (["--sampler", "projected"], "projected"),
        (["--method", "score"], "tokens"),
        (["--set", "candidates=0"], "candidates"),
        (["--set", "candidates=1000000000"], "1000000000"),
        (["--set", "exact=2"], "exact"),
        (["--set", "steps=3"], "steps"),
        (["--format", "wav"], "--format"),
    ],
)
def test_wrong_words(
    tokens: Path,
    mixture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[object],
    message: str,
) -> None:
    assert call("separate", mixture, "--prior", tokens, "-o", tmp_path / "out", *more) == 2
    assert message in two_lines(capsys)
    assert not (tmp_path / "out").exists()


def test_a_table_of_another_codec(
    tokens: Path, mixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tokens, tmp_path / "tokens"))
    table = folder / "table" / "table.safetensors"
    replace(LikelihoodTable.load(table), codec="another").save(table)
    words = ["separate", mixture, "--prior", folder, "-o", tmp_path / "out"]
    assert call(*words) == 4
    assert "table/table.safetensors" in two_lines(capsys)
    cards.write(cards.with_files(cards.read(folder), folder), folder)
    assert call(*words) == 4
    assert "tokens" in two_lines(capsys)
    assert not (tmp_path / "out").exists()


def test_digits_are_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prior = make_tokens(tmp_path / "digits", (28, 28), ("0-4", "5-9"))
    words = ["evaluate", "--dataset", "mnist", "--data", DIGITS, "--prior", prior, "--pairs", 3, "-q"]
    out = tmp_path / "report.json"
    assert call(*words, "--pairing", "class", "--metric", "psnr", "--samples", 2, "-o", out) == 0
    report = json.loads(out.read_text())
    assert set(report["results"]["psnr"]["sepcli"]) == {"0-4", "5-9", "average"}
    assert "sepcli-2x" in report["results"]["psnr"]
    assert report["results"]["residual"]["sepcli"]["mixture"]["mean"] < 0.01
    assert report["protocol"]["settings"]["class_conditional"] is True
    assert report["cost"]["evaluations"] == 49 * 3
    three = ["--sum", 3, "--set", "sweeps=1", "--set", "refine=1"]
    assert call(*words, *three, "-o", tmp_path / "three.json") == 0
    report = json.loads((tmp_path / "three.json").read_text())
    assert set(report["results"]["psnr"]["sepcli"]) == {"image-1", "image-2", "image-3", "average"}
    assert report["cost"]["evaluations"] == 49 * 3 * 2
    capsys.readouterr()
    assert call(*words, "--sum", 3, "--pairing", "class") == 2
    assert "3" in two_lines(capsys)
    assert call(*words, "--method", "score") == 2
    assert "digits" in two_lines(capsys)
