"""The fit on screen and in run.json, and the ranking of ``--prior auto``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from msgspec import structs
from PIL import Image

from sepcli.catalog import card as cards
from sepcli.catalog.measured import Fit
from sepcli.cli.app import run
from sepcli.cli.auto_prior import Ranked, candidates, rank

Captured = pytest.CaptureFixture[str]
BUNDLED = Path(cards.__file__).parent / "bundled"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "pair.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 12), dtype=np.uint8)).save(path)
    return path


def test_a_misfit_is_two_lines_and_an_entry(
    tiny_images: Path, image: Path, tmp_path: Path, capsys: Captured
) -> None:
    folder = Path(shutil.copytree(tiny_images, tmp_path / "prior"))
    fit = Fit(0.3, tuple(np.linspace(-200.0, -190.0, 20).tolist()))
    cards.write(structs.replace(cards.read(folder), fit=fit), folder)
    for out, prior, expected in (("a", folder, 1 / 21), ("b", tiny_images, None)):
        words = ["separate", str(image), "--prior", str(prior), "--out", str(tmp_path / out)]
        assert run(words) == 0
        shown = capsys.readouterr().err
        record = json.loads((tmp_path / out / "pair" / "run.json").read_text())
        assert record["fit"] == (None if expected is None else pytest.approx(expected))
        assert ("do not explain" in shown) == (expected is not None)
        assert ("--prior auto" in shown) == (expected is not None)


def test_candidates_are_installed_sets_and_pairs_across_them() -> None:
    audio = [*candidates("audio")]
    assert ("songs",) in audio
    assert ("slakh-drums-bass",) in audio
    assert ("slakh-bass", "songs-drums") in audio
    assert ("slakh-bass", "slakh-drums") not in audio  # slakh-drums-bass has both
    assert ("slakh-drums", "songs-drums") not in audio  # of one kind
    assert ("mnist",) in [*candidates("image")]


def test_what_does_not_explain_is_behind_what_does() -> None:
    worse = Ranked(("a",), ("x", "y"), -20.0, 0.01)
    better = Ranked(("b",), ("x", "y"), -5.0, None)
    assert min((worse, better), key=lambda one: one.key) is better


def test_auto_chooses_the_prior_of_digits_for_digits(tmp_path: Path, capsys: Captured) -> None:
    pair = Path(__file__).parents[2] / "examples" / "digits" / "mix.png"
    assert rank(pair, "image")[0].priors == ("mnist",)
    words = ["separate", str(pair), "--prior", "auto", "--out", str(tmp_path), "--set", "steps=2"]
    assert run(words) == 0
    assert "mnist" in capsys.readouterr().err.splitlines()[0]


def test_auto_is_alone(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 8000)
    words = ["separate", str(tmp_path / "a.wav"), "--prior", "auto", "--out", str(tmp_path / "o")]
    assert run([*words, "--prior", "songs", "-q"]) == 2
    assert run([*words, "--other", "-q"]) == 2
