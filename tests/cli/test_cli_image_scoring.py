"""``sepcli evaluate --dataset cifar10`` and ``images``: pairs, colorizations, sets; tables and files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sepcli.metrics.features as features
from sepcli.cli.app import run
from sepcli.datasets.cifar import CLASSES, RECORD
from sepcli.metrics.features import Classifier, ClassifierConfig, save_classifier

DIGITS = Path(__file__).parents[1] / "data" / "digits"


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """Twenty test images of all classes, in the binary version."""
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (20, RECORD), np.uint8)
    records[:, 0] = np.arange(20) % 10
    (tmp_path / "cifar").mkdir()
    records.tofile(tmp_path / "cifar" / "test_batch.bin")
    return tmp_path / "cifar"


@pytest.fixture
def classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Untrained classifiers with four features, in place of those that come along."""
    torch.manual_seed(0)
    for name, channels, side in (("fd-cifar", 3, 32), ("fd-mnist", 1, 28)):
        config = ClassifierConfig(channels, (side, side), (4,))
        save_classifier(Classifier(config), tmp_path, name, {"test_accuracy": 0.1})
    monkeypatch.setattr(features, "FOLDER", tmp_path)


def folder(path: Path, count: int, size: tuple[int, int] = (14, 10)) -> Path:
    path.mkdir(parents=True)
    rng = np.random.default_rng(len(path.name))
    for n in range(count):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path / f"{n}.png")
    return path


def evaluate(*words: object) -> int:
    return run(["evaluate", "--device", "cpu", "--set", "steps=2", *map(str, words)])


def test_pairs_of_cifar_have_their_distance_in_every_form(
    tiny_colors: Path, cifar: Path, classifier: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dataset", "cifar10", "--data", cifar, "--prior", tiny_colors, "--pairs", 3]
    files = ["-o", tmp_path / "r.json", "--csv", tmp_path / "r.csv", "--html", tmp_path / "r.html"]
    assert evaluate(*words, "--pairing", "class", "--metric", "psnr,ssim,fd-cifar", *files) == 0
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if not line.lstrip().startswith("[")]  # intervals of rows
    assert [line.split()[0] for line in lines if line][:3] == ["psnr", "sepcli", "average"]
    start = next(n for n, line in enumerate(lines) if line.startswith("fd-cifar"))
    assert lines[start].split()[:2] == ["fd-cifar", "images"]
    assert [line.split()[0] for line in lines[start + 1 : start + 4]] == ["sepcli", "average", "originals"]
    assert "FID" in " ".join(lines[start + 4 :])
    assert "2 evaluations" in err
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["protocol"]["stems"] == ["animals", "machines"]
    assert document["protocol"]["settings"]["networks"]["fd-cifar"]["test_accuracy"] == 0.1
    value = document["results"]["fd-cifar"]["sepcli"]["images"]["mean"]
    rows = list(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
    assert [float(r["value"]) for r in rows if (r["metric"], r["method"]) == ("fd-cifar", "sepcli")] == [
        value
    ]
    assert f"{value:.4f}" in (tmp_path / "r.html").read_text()
    assert not list(tmp_path.glob("*.partial*"))


def test_a_missing_classifier_is_two_lines(
    tiny_colors: Path,
    cifar: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(features, "FOLDER", tmp_path)
    words = ["--dataset", "cifar10", "--data", cifar, "--prior", tiny_colors, "--pairs", 2]
    assert evaluate(*words, "--metric", "fd-cifar") == 4
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "classifiers.py cifar10" in told[1]


def test_colorizations_of_cifar_in_folders(
    tiny_colors: Path, classifier: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in CLASSES[:2]:
        folder(tmp_path / "data" / "test" / name, 3, (32, 32))
    words = ["--dataset", "cifar10", "--data", tmp_path / "data", "--prior", tiny_colors, "--pairs", 3]
    words += ["--task", "colorize", "--samples", 2, "--metric", "fd-cifar", "--metric", "psnr,cs-cifar"]
    assert evaluate(*words) == 0
    out, err = capsys.readouterr()
    first = [line.split()[0] for line in out.splitlines()[:4]]
    assert first == ["psnr", "sepcli", "sepcli-2x", "gray"]
    assert "sepcli: " in err
    assert "Inception score" in out


def test_two_folders_with_a_prior_each(
    tiny_colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    church, bedroom = folder(tmp_path / "church", 3), folder(tmp_path / "bedroom", 4)
    words = ["--dataset", "images", "--data", church, "--data", bedroom, "--pairs", 2, "--json", "-q"]
    assert evaluate(*words, "--prior", tiny_colors, "--prior", tiny_colors) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["protocol"]["stems"] == ["church", "bedroom"]
    assert document["protocol"]["settings"]["prior"] == ["colors", "colors"]
    assert document["results"]["psnr"]["average"]["average"]["n"] == 2
    assert evaluate(*words[:4], *words[6:], "--prior", tiny_colors) == 0
    assert json.loads(capsys.readouterr().out)["protocol"]["stems"] == ["first", "second"]


def test_bits_per_dimension_of_a_flow(tiny_flow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--dataset", "mnist", "--data", DIGITS, "--prior", tiny_flow, "--pairs", 2, "--json", "-q"]
    fast = ["--sampler", "projected", "--set", "steps=2"]
    assert evaluate(*words, *fast, "--metric", "nll") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["results"]["nll"]) == {"sepcli", "truth"}
    assert found["results"]["nll"]["truth"]["mixture"]["n"] == 2
    assert evaluate("--metric", "nll") == 2


def test_digits_have_a_distance(
    tiny_images: Path, classifier: None, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dataset", "mnist", "--data", DIGITS, "--prior", tiny_images, "--pairs", 2, "--json", "-q"]
    assert evaluate(*words, "--metric", "fd-mnist") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["results"]["fd-mnist"]) == ["sepcli", "average", "nmf", "originals"]
    assert evaluate(*words, "--metric", "fd-cifar") == 2
    assert "28 x 28" in capsys.readouterr().err


def test_words_that_do_not_fit_are_refused(
    tiny_colors: Path, tiny_images: Path, cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dataset", "cifar10", "--data", cifar, "--prior", tiny_colors]
    for wrong, said in (
        (["--metric", "psnr,nonsense"], "nonsense"),
        (["--metric", "fid"], "--inception-weights"),
        (["--inception-weights", "x"], "--metric fid"),
        (["--metric", "sdr"], "psnr"),
        (["--data", tmp_path], "--data"),
        (["--prior", tiny_colors], "--data"),
        (["--task", "colorize", "--pairing", "class"], "--pairing"),
        (["--method", "nmf"], "--method"),
        (["--metric", "nll"], "nll"),
        (["--metric", "nll", "--task", "colorize"], "nll"),
    ):
        assert evaluate(*words, *wrong) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 2
        assert said in err
    assert evaluate(*words[:4], "--prior", tiny_images) == 2
    assert "cifar10" in capsys.readouterr().err
    assert evaluate("--dataset", "mnist", "--data", DIGITS, "--prior", tiny_images, "--task", "colorize") == 2
    assert evaluate("--metric", "fd-cifar") == 2
    (cifar / "test_batch.bin").rename(cifar / "test_batch")
    assert evaluate(*words) == 1
    assert "CIFAR-10" in capsys.readouterr().err
    assert evaluate("--metric", "fid", "--inception-weights", tmp_path / "none.pth", *words) in (1, 2)


def test_a_set_has_one_value_and_no_plots(
    tiny_colors: Path, cifar: Path, classifier: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dataset", "cifar10", "--data", cifar, "--prior", tiny_colors, "--pairs", 3, "-q"]
    assert evaluate(*words, "--metric", "fd-cifar", "--html", tmp_path / "r.html") == 0
    page = (tmp_path / "r.html").read_text()
    assert "fd-cifar" in page
    assert "<img" not in page
    assert 'id="tracks"' not in page
    capsys.readouterr()
    assert evaluate(*words, "--metric", "fd-cifar", "--plot", tmp_path / "r.png") == 2
    assert "--plot" in capsys.readouterr().err
    assert not (tmp_path / "r.png").exists()


def test_one_folder_is_not_two(tiny_colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = folder(tmp_path / "a", 3)
    again = place / ".." / "a"
    words = ["--dataset", "images", "--data", place, "--data", again, "--prior", tiny_colors]
    assert evaluate(*words) == 2
    assert str(place) in capsys.readouterr().err
