"""A run.json holds all that repeats its run, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from tiny_sound import make_sound

from sepcli.cli.app import run


@pytest.fixture
def song(tmp_path: Path) -> Path:
    sound = np.random.default_rng(0).normal(0, 0.1, (12000, 2)).clip(-1, 1)
    soundfile.write(tmp_path / "song.wav", sound, 8000, subtype="PCM_16")
    return tmp_path / "song.wav"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(60, 190, (12, 14), np.uint8)).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def stored(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.suffix in (".wav", ".png"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def repeat(record: dict[str, Any], command: str, priors: list[str], out: Path, source: Path) -> int:
    """Run a command with what a record says, and its priors; defaults of cards and engines have no part."""
    words = [command, str(source), "-o", str(out), "-q", "--seed", str(record["seed"])]
    words += ["--samples", str(len(record["samples"])), "--device", record["device"]]
    words += ["--sampler", record["sampler"]] if record["sampler"] else []
    settings = dict(record["settings"])
    stream = record.get("stream")
    if stream is not None:
        words += ["--consistency", stream["consistency"]]
        kept = {"window", "overlap", "batch", "exponent", "fft_seconds", "reference_rms"}
        settings |= {key: value or 0 for key, value in stream.items() if key in kept}
        settings |= {} if stream["keep_samples"] else {"draws": stream["samples"]}
    for key, value in settings.items():
        written = int(value) if isinstance(value, bool) else "ancestral" if value is None else value
        words += ["--set", f"{key}={written}"]
    for prior in priors:
        words += ["--prior", prior]
    if command == "colorize":
        words += ["--gray", record["gray"]]
    elif record.get("stream") is None or len(priors) > 1:
        words += ["--weights", ",".join(map(repr, record["weights"]))]
    return run(words)


@pytest.mark.parametrize(
    "words",
    [
        ["--set", "draws=2", "--sampler", "top-k", "--set", "top_k=4"],
        ["--samples", "2", "--seed", "5", "--consistency", "project"],
    ],
    ids=" ".join,
)
def test_tokens(words: list[str], tiny_prior: Path, song: Path, tmp_path: Path) -> None:
    first = ["separate", str(song), "--prior", str(tiny_prior), "-o", str(tmp_path / "a"), "-q", *words]
    assert run([*first, "--device", "cpu"]) == 0
    record = json.loads((tmp_path / "a" / "song" / "run.json").read_text())
    assert repeat(record, "separate", [str(tiny_prior)], tmp_path / "b", song) == 0
    assert stored(tmp_path / "a") == stored(tmp_path / "b")


def test_scores_of_audio(song: Path, tmp_path: Path) -> None:
    priors = [str(make_sound(tmp_path / name, name)) for name in ("violin", "shaker")]
    words = [word for prior in priors for word in ("--prior", prior)]
    first = ["separate", str(song), *words, "-o", str(tmp_path / "a"), "-q", "--set", "steps=2"]
    assert run([*first, "--device", "cpu", "--set", "window=0.5", "--set", "overlap=0.1"]) == 0
    record = json.loads((tmp_path / "a" / "song" / "run.json").read_text())
    assert repeat(record, "separate", priors, tmp_path / "b", song) == 0
    assert stored(tmp_path / "a") == stored(tmp_path / "b")


@pytest.mark.parametrize("sampler", ["projected", "halving", "langevin", "multi-source"])
def test_scores_of_images(sampler: str, tiny_images: Path, image: Path, tmp_path: Path) -> None:
    words = ["--sampler", sampler, "--set", "steps=2", "--samples", "2", "--weights", "0.7,0.3", "-q"]
    first = ["separate", str(image), "--prior", str(tiny_images), "-o", str(tmp_path / "a"), *words]
    assert run([*first, "--device", "cpu"]) == 0
    record = json.loads((tmp_path / "a" / "x" / "run.json").read_text())
    assert repeat(record, "separate", [str(tiny_images)], tmp_path / "b", image) == 0
    assert stored(tmp_path / "a") == stored(tmp_path / "b")


def test_colors(tiny_colors: Path, image: Path, tmp_path: Path) -> None:
    first = ["colorize", str(image), "--prior", str(tiny_colors), "-o", str(tmp_path / "a"), "-q"]
    assert run([*first, "--set", "steps=3", "--device", "cpu", "--seed", "3"]) == 0
    record = json.loads((tmp_path / "a" / "x" / "run.json").read_text())
    assert repeat(record, "colorize", [str(tiny_colors)], tmp_path / "b", image) == 0
    assert stored(tmp_path / "a") == stored(tmp_path / "b")


def test_records_hold_no_absolute_path(tiny_images: Path, image: Path, tmp_path: Path) -> None:
    assert run(["separate", str(image), "--prior", str(tiny_images), "-o", str(tmp_path / "a"), "-q"]) == 0
    text = (tmp_path / "a" / "x" / "run.json").read_text()
    assert str(tmp_path) not in text
    assert Path.home().name not in text
