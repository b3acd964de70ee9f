"""``--sampler halving`` on recordings: chains that compete frame by frame, unless it is said otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_sound import make_dual, make_sound

from sepcli.cli.app import run

RATE = 8000
NEAR = 48
"""0.19 s in frames of 32 samples."""
FEW = ("--sampler", "halving", "--set", "steps=6", "--set", "candidates=4", "--device", "cpu", "-q")


@pytest.fixture
def priors(tmp_path: Path) -> list[str]:
    names = ("violin", "cello")
    return [word for name in names for word in ("--prior", make_sound(tmp_path / name, name))]


def written(path: Path, seconds: float, seed: int) -> np.ndarray:
    signal = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, RATE, subtype="PCM_16")
    return soundfile.read(path, dtype="int16")[0]


def separate(tmp_path: Path, *words: str) -> int:
    windows = ("--set", "window=0.5", "--set", "overlap=0.1")
    return run(["separate", str(tmp_path / "mix.wav"), "-o", str(tmp_path / "out"), *FEW, *windows, *words])


def test_a_duet_in_several_windows(priors: list[str], tmp_path: Path) -> None:
    mixture, stored = written(tmp_path / "mix.wav", 1.3, 0), {}
    folder = tmp_path / "out" / "mix"
    for local, words in {NEAR: (), 0: ("--set", "local=0", "--overwrite")}.items():
        assert separate(tmp_path, *priors, *words) == 0
        record = json.loads((folder / "run.json").read_text())
        assert (record["sampler"], record["settings"]["local"]) == ("halving", local)
        assert record["report"]["windows"] > 2
        violin, cello = (
            soundfile.read(folder / f"{name}.wav", dtype="int16")[0] for name in ("violin", "cello")
        )
        assert np.array_equal(violin.astype(int) + cello, mixture)
        stored[local] = violin.astype(int)
    assert np.abs(stored[NEAR] - stored[0]).max() > 10


def test_pairs_are_scored(tiny_prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prior = make_dual(tmp_path / "both", tiny_prior, "score")
    for seed, name in enumerate(("drums", "bass")):
        for item in range(2):
            written(tmp_path / "pairs" / name / f"{item}.wav", 1.2, 10 * seed + item)
    data = ["--dataset", "pairs", "--data", str(tmp_path / "pairs"), "--prior", str(prior)]
    assert run(["evaluate", *data, *FEW, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["protocol"]["settings"]["sampler"] == "halving"
    assert document["protocol"]["settings"]["settings"]["local"] == NEAR
    assert all(np.isfinite(stem["mean"]) for stem in document["results"]["sdr"]["sepcli"].values())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sampler", "halving", "--set", "local=-1"], "local"),
        (["--sampler", "halving", "--set", "local=much"], "local"),
        (["--sampler", "projected", "--set", "local=8"], "local"),  # no chains to compare
    ],
)
def test_what_is_refused(
    priors: list[str], tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "mix.wav", 0.6, 0)
    out = tmp_path / "out"
    common = ["separate", str(tmp_path / "mix.wav"), "-o", str(out), "--device", "cpu", "-q"]
    assert run([*common, *priors, *words]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert message in first
    assert second.startswith("  → ")
    assert not out.exists()


def test_images_have_no_frames(tiny_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--prior", str(tiny_images), "--set", "local=8", "-o", str(tmp_path / "out"))
    assert run(["separate", str(tmp_path / "mix.png"), *FEW, *words]) == 2
    assert "local" in capsys.readouterr().err
