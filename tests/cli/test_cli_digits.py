"""``sepcli evaluate --dataset mnist``: rows, notes, plots, classes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sepcli.catalog import card as cards
from sepcli.catalog import network, resolve
from sepcli.cli.app import run

DIGITS = Path(__file__).parents[1] / "data" / "digits"


def evaluate(prior: Path, *more: object, data: Path = DIGITS) -> int:
    words = ["evaluate", "--dataset", "mnist", "--data", data, "--prior", prior, "--pairs", 2]
    words += ["--set", "steps=2", "--device", "cpu", *more]
    return run([str(word) for word in words])


def with_classes(prior: Path, folder: Path, classes: list[str]) -> Path:
    """A copy of a prior whose config names its two classes otherwise."""
    shutil.copytree(prior, folder)
    config = folder / "denoiser" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"classes": classes}))
    card, _ = resolve.find(str(folder))
    cards.write(cards.with_files(card, folder), folder)
    return folder


def rows(text: str) -> list[str]:
    """Lines of a table, without those that continue a row with its interval."""
    return [line for line in text.splitlines() if not line.lstrip().startswith("[")]


def test_table_notes_and_plot(tiny_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "psnr.png"
    assert evaluate(tiny_images, "--metric", "psnr", "--plot", plot) == 0
    out, err = capsys.readouterr()
    lines = rows(out)
    assert lines[0].split() == ["psnr", "first", "second", "average", "median", "tracks"]
    assert [line.split()[0] for line in lines[1:4]] == ["sepcli", "average", "nmf"]
    second = next(n for n, line in enumerate(lines) if line.startswith("psnr minus"))
    assert "sepcli" in "".join(lines[second : second + 3])  # a head of one to three lines
    assert [line for line in lines if line.startswith("residual")] == []  # which is no table
    assert "2 evaluations" in err
    assert "sepcli: " in err
    with Image.open(plot) as image:
        image.load()
    assert evaluate(tiny_images, "--metric", "ssim", "--metric", "psnr", "-q") == 0
    tables = rows(capsys.readouterr().out)
    heads = [line.split()[0] for line in tables if line.startswith(("ssim ", "psnr "))]
    assert list(dict.fromkeys(heads)) == ["ssim", "psnr"]
    captions = [line for line in tables if "95 %" in line]
    assert [line.startswith("dB") for line in captions] == [False, False, True, True]
    assert evaluate(tiny_images, "--plot", plot) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert evaluate(tiny_images, "--plot", plot, "--overwrite", "-q") == 0
    assert capsys.readouterr().err == ""


def test_the_likeliest_of_several_draws_has_a_row(
    tiny_flow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("--sampler", "langevin", "--set", "levels=2")
    assert evaluate(tiny_flow, *settings, "--json", "-q") == 0
    one = json.loads(capsys.readouterr().out)
    assert evaluate(tiny_flow, *settings, "--samples", 3, "-o", tmp_path / "r.json") == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in rows(out)[1:5]] == ["sepcli", "sepcli-3x", "average", "nmf"]
    assert "truth: " in err
    several = json.loads((tmp_path / "r.json").read_text())
    assert several["protocol"]["settings"]["samples"] == 3
    for metric, row, stem in (
        ("psnr", "sepcli", "first"),
        ("nll", "sepcli", "mixture"),
        ("nll", "truth", "mixture"),
    ):
        first, again = (report["results"][metric][row][stem]["mean"] for report in (one, several))
        assert first == pytest.approx(again, abs=1e-4)  # the row of one draw is of the same draw


@pytest.mark.parametrize(
    ("plot", "code", "words"),
    [("plot.txt", 2, ".png"), ("plot", 2, ".png"), ("missing/plot.png", 1, "missing/plot.png")],
)
def test_plots_that_cannot_be_are_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], plot: str, code: int, words: str
) -> None:
    assert evaluate(tmp_path / "no-prior", "--plot", tmp_path / plot) == code
    assert words in capsys.readouterr().err


def test_missing_training_files_are_said(
    tiny_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in DIGITS.glob("t10k-*"):
        shutil.copy(file, tmp_path)
    assert evaluate(tiny_images, data=tmp_path) == 0
    out, err = capsys.readouterr()
    assert "nmf" not in out
    assert "nmf" in err


def test_classes_are_those_of_the_network(
    tiny_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = with_classes(tiny_images, tmp_path / "other", ["odd", "even"])
    found = []
    for prior, split in ((tiny_images, "class"), (other, "class"), (tiny_images, "any")):
        assert evaluate(prior, "--pairing", split, "--json", "-q") == 0
        found.append(json.loads(capsys.readouterr().out))
    assert [d["protocol"]["settings"]["class_conditional"] for d in found] == [True, False, False]
    ours = [d["results"]["psnr"]["sepcli"]["average"]["mean"] for d in found[:2]]
    assert ours[0] != ours[1]  # the same weights, told and not told the classes
    assert "residual" in found[0]["results"]
    assert found[0]["cost"]["evaluations"] == 2


def test_the_network_is_read_and_hashed_once(tiny_images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    opened, weights = Path.open, network.read_weights

    def noting(function: Callable[..., Any], what: str) -> Callable[..., Any]:
        def noted(path: Path, *options: Any, **more: Any) -> Any:
            read.append(f"{what} {path.name}")
            return function(path, *options, **more)

        return noted

    monkeypatch.setattr(Path, "open", noting(opened, "opened"))
    monkeypatch.setattr(network, "read_weights", noting(weights, "loaded"))
    assert evaluate(tiny_images, "-q") == 0
    of_weights = [what for what in read if what.endswith(" model.safetensors")]
    assert sorted(of_weights) == ["loaded model.safetensors", "opened model.safetensors"]
