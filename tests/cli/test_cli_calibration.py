"""``sepcli evaluate --calibration``: document, table, figure, and options that it does not take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_sound import make_sound

from sepcli.cli.app import run

DIGITS = Path(__file__).parents[1] / "data" / "digits"
FEW = ["--pairs", "20", "--samples", "4", "--set", "steps=2", "--device", "cpu"]
Captured = pytest.CaptureFixture[str]


def test_a_prior_of_images(tiny_images: Path, tmp_path: Path, capsys: Captured) -> None:
    out, plot = tmp_path / "calibration.json", tmp_path / "calibration.svg"
    words = ["evaluate", "--calibration", "--prior", str(tiny_images), "--preset", "draws", *FEW]
    assert run([*words, "--out", str(out), "--plot", str(plot)]) == 0
    shown = capsys.readouterr().out
    document = json.loads(out.read_text())
    assert (document["kind"], document["mixtures"], document["samples"]) == ("calibration", 20, 4)
    assert document["about"]["sampler"] == "projected"
    assert document["about"]["settings"]["average"] is True
    assert document["about"]["truths"] == "samples of the prior by the same sampler"
    assert all(name in shown for name in document["p_values"])
    assert plot.read_bytes().startswith(b"<?xml")
    assert run([*words, "--out", str(out), "-q"]) != 0  # it exists
    assert run([*words, "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out) == document


def test_truths_may_be_test_images(tiny_images: Path, capsys: Captured) -> None:
    data = ["--dataset", "mnist", "--data", str(DIGITS)]
    assert run(["evaluate", "--calibration", "--prior", str(tiny_images), *data, *FEW, "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["about"]["truths"] == "mnist"


def test_a_prior_of_audio(tmp_path: Path, capsys: Captured) -> None:
    sounds = [make_sound(tmp_path / name, name) for name in ("violin", "cello")]
    given = [word for sound in sounds for word in ("--prior", str(sound))]
    assert run(["evaluate", "--calibration", *given, "--preset", "draws", *FEW, "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["mixtures"] == 20


@pytest.mark.parametrize("words", [[], ["--prior", "mnist-lass"], ["--prior", "mnist", "--csv", "a.csv"]])
def test_what_cannot_be_calibrated_is_a_usage_error(words: list[str]) -> None:
    assert run(["evaluate", "--calibration", *words, *FEW[:4], "-q"]) == 2


def test_one_mixture(tiny_images: Path, tmp_path: Path, capsys: Captured) -> None:
    image, out = Path(__file__).parents[2] / "examples" / "digits" / "mix.png", tmp_path / "stein.json"
    words = ["evaluate", str(image), "--calibration", "--prior", str(tiny_images), "--preset", "draws"]
    words += ["--set", "steps=2", "--samples", "8", "--device", "cpu"]
    assert run([*words, "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    assert (document["kind"], document["samples"]) == ("stein", 8)
    assert f"{document['discrepancy']:.4g}" in capsys.readouterr().out
    assert run([*words, "--plot", str(tmp_path / "a.svg"), "-q"]) == 2
    assert run([*words[:1], str(image), *words[1:], "-q"]) == 2


def test_truths_may_be_recorded_pairs(tmp_path: Path, capsys: Captured) -> None:
    names = ("violin", "cello")
    sounds = [make_sound(tmp_path / name, name) for name in names]
    rng = np.random.default_rng(0)
    for name in names:
        (tmp_path / "pairs" / name).mkdir(parents=True)
        for number in range(20):
            path = tmp_path / "pairs" / name / f"{number}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal(1000), 8000)
    given = [word for sound in sounds for word in ("--prior", str(sound))]
    data = ["--dataset", "pairs", "--data", str(tmp_path / "pairs")]
    assert run(["evaluate", "--calibration", *given, "--preset", "draws", *data, *FEW, "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["about"]["truths"] == "pairs"
