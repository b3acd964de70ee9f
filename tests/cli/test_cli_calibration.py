"""``sepcli evaluate --calibration``: document, table, figure, and options that it does not take."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from msgspec import structs
from tiny_sound import make_sound

from sepcli.catalog import card as cards
from sepcli.catalog.measured import Draws
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
    words = ["evaluate", "--calibration", *given, "--preset", "draws", *FEW]
    assert run([*words, "--json", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["mixtures"] == 20
    assert "notes" not in document["about"]
    folder = Path(sounds[1])
    training = {"steps": 5000, "seconds": 600, "interference_share": 0.5}
    part = cards.Part("denoiser", training=training)
    cards.write(cards.with_part(cards.read(folder), "denoiser", part), folder)
    assert run([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    notes = json.loads(out)["about"]["notes"]
    assert "cello" in notes[0]
    assert all(note in err for note in notes)


def test_several_samples_are_draws_of_a_prior_that_passed(
    tiny_images: Path, tmp_path: Path, capsys: Captured
) -> None:
    folder = tmp_path / "prior"
    shutil.copytree(tiny_images, folder)
    draws = Draws(mixtures=200, samples=19, p_value=0.5, coverage=0.9)
    cards.write(structs.replace(cards.read(folder), draws=draws), folder)
    mixture = str(DIGITS.parents[2] / "examples" / "digits" / "mix.png")
    common = [mixture, "--prior", str(folder), "--set", "steps=2", "--device", "cpu", "-q"]
    used = {}
    for name, words in {"several": ["--samples", "2"], "one": [], "sharp": ["--samples", "2"]}.items():
        preset = ["--preset", "estimate"] if name == "sharp" else []
        assert run(["separate", *common, *words, *preset, "--out", str(tmp_path / name)]) == 0
        used[name] = json.loads((tmp_path / name / "mix" / "run.json").read_text())["settings"]
    assert used["several"].get("average") is True
    assert not used["one"].get("average")
    assert not used["sharp"].get("average")
    assert run(["evaluate", "--calibration", "--prior", str(folder), *FEW, "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["about"]["settings"]["average"] is True
    sums = ["--dataset", "mnist", "--data", str(DIGITS), "--pairs", "2", "--set", "steps=2"]
    for samples, averaged in (("1", False), ("2", True)):
        words = ["evaluate", "--prior", str(folder), *sums, "--samples", samples, "--json", "-q"]
        assert run([*words, "--device", "cpu"]) == 0
        settings = json.loads(capsys.readouterr().out)["protocol"]["settings"]["settings"]
        assert settings.get("average") is averaged
    assert run(["samplers", "--prior", str(folder), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["samplers"]
    assert [row["command"] for row in rows] == ["separate", "separate --samples 2"]
    assert "average" in {row["name"] for row in rows[1]["settings"]}


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
    words = ["evaluate", "--calibration", *given, "--preset", "draws", *data, *FEW]
    assert run([*words, "--json", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["about"]["truths"] == "pairs"
    assert document["standard_deviation"]["nominal"] == 0.9
    confidence = document["confidence"]
    assert confidence["seconds"] == 20 * 2  # recordings of an eighth of a second
    assert confidence["coverage"]["nominal"] == pytest.approx(0.8)  # of four samples
    median = confidence["median_db"]
    assert run(words) == 0
    shown = capsys.readouterr().out
    assert f"{median['reported']:.1f} dB" in shown
    assert f"{median['attained']:.1f} dB" in shown


def test_one_recording(tmp_path: Path, capsys: Captured) -> None:
    given = [
        word for name in ("violin", "cello") for word in ("--prior", str(make_sound(tmp_path / name, name)))
    ]
    mix, silence = tmp_path / "mix.wav", tmp_path / "silence.wav"
    soundfile.write(mix, 0.1 * np.random.default_rng(1).standard_normal((4000, 2)), 16000)
    soundfile.write(silence, np.zeros(4000), 16000)
    words = ["--calibration", *given, "--preset", "draws", "--set", "steps=2", "--samples", "8"]
    assert run(["evaluate", str(mix), *words, "--json", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["about"]["mixture"]) == ("stein", "mix.wav")
    assert 0.0 < document["p_value"] <= 1.0
    assert run(["evaluate", str(silence), *words, "-q"]) == 2
