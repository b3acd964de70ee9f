"""``--replay run.json`` repeats a run byte for byte, or says what differs or is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from tiny_sound import make_sound
from tiny_tokens import make_tokens
from tiny_waves import make_flow

import sepcli
from sepcli.cli.app import run
from sepcli.cli.resolve import SONG_PRIOR

SONG = Path(__file__).parents[2] / "examples" / "song" / "mix.flac"
MODULE = """
class White:
    def score(self, x, sigma):
        return -x / (0.1 + sigma * sigma)


white = White()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def song(folder: Path) -> str:
    sound = np.random.default_rng(0).normal(0, 0.1, (6000, 2)).clip(-1, 1)
    soundfile.write("song.wav", sound, 8000, subtype="PCM_16")
    return "song.wav"


@pytest.fixture
def image(folder: Path) -> str:
    Image.fromarray(np.random.default_rng(0).integers(60, 190, (12, 12), np.uint8)).save("x.png")
    return "x.png"


def stored(folder: str) -> dict[str, bytes]:
    files = (path for path in Path(folder).rglob("*") if path.is_file() and path.name != "run.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def record_of(folder: str, track: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(Path(folder, track, "run.json").read_text())
    return record


def edit(path: Path, **entries: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def replay(command: str, path: str, *words: str) -> int:
    return run([command, "--replay", path, "-o", "b", *words])


def check_identical(command: str, source: str, *words: str) -> dict[str, Any]:
    """Run a command, replay its record, and compare both files and records; return the record."""
    assert run([command, source, "-o", "a", "-q", "--device", "cpu", *words]) == 0
    track = Path(source).stem
    assert replay(command, f"a/{track}/run.json", "-q") == 0
    assert stored("a") == stored("b")
    first, second = record_of("a", track), record_of("b", track)
    assert {**first, "report": 0} == {**second, "report": 0}  # which holds durations
    return first


@pytest.mark.parametrize(
    "words",
    [
        ["--set", "draws=2", "--sampler", "top-k", "--set", "top_k=4", "--format", "mp3", "--bitrate", "96"],
        ["--samples", "2", "--seed", "5", "--consistency", "project", "--bit-depth", "24", "--only", "bass"],
        ["--two-stems", "bass", "--start", "0.1", "--length", "0.5", "--format", "flac"],
        [
            "--sampler",
            "beam",
            "--set",
            "width=3",
            "--consistency",
            "none",
            "--filename",
            "{stem}/{track}.{ext}",
        ],
    ],
    ids=" ".join,
)
def test_tokens(words: list[str], tiny_prior: Path, song: str) -> None:
    if "--filename" in words:
        assert run(["separate", song, "--prior", str(tiny_prior), "-o", "a", "-q", *words]) == 0
        assert replay("separate", "a/song.run.json", "-q") == 0
        assert {key: data for key, data in stored("a").items() if key.endswith("wav")} == {
            key: data for key, data in stored("b").items() if key.endswith("wav")
        }
    else:
        check_identical("separate", song, "--prior", str(tiny_prior), *words)


@pytest.mark.parametrize("words", [[], ["--samples", "2", "--sampler", "halving"]], ids=" ".join)
def test_scores_of_audio(song: str, words: list[str]) -> None:
    for name in ("violin", "shaker"):
        make_sound(Path("priors", name), name)
    windows = ["--set", "window=0.5", "--set", "overlap=0.1", "--set", "reference_rms=0"]
    priors = ["--prior", "priors/violin", "--prior", "priors/shaker"]
    record = check_identical("separate", song, *priors, *windows, "--set", "steps=2", *words)
    assert record["prior_references"] == ["../../priors/violin", "../../priors/shaker"]
    assert record["stream"]["reference_rms"] is None


def test_one_source_and_all_else(song: str) -> None:
    make_sound(Path("violin"), "violin")
    words = ["--prior", "violin", "--other", "--set", "other=0.3", "--weights", "0.7,0.3", "--set", "steps=2"]
    record = check_identical("separate", song, *words)
    assert (record["sources"], record["options"]["other"]) == (["violin", "other"], True)


@pytest.mark.slow
def test_flows_of_waveforms(song: str) -> None:
    for name in ("sine", "square"):
        make_flow(Path(name), name, std=0.7, weight=0.25)
    check_identical("separate", song, "--prior", "sine", "--prior", "square", "--set", "steps=2")


@pytest.mark.slow
def test_a_baseline(song: str) -> None:
    record = check_identical("separate", song, "--method", "hpss", "--format", "flac")
    assert (record["prior"], record["prior_references"]) == (None, [])


@pytest.mark.parametrize("sampler", ["projected", "halving", "langevin", "multi-source"])
def test_scores_of_images(sampler: str, tiny_images: Path, image: str) -> None:
    words = ["--sampler", sampler, "--set", "steps=2", "--samples", "2", "--weights", "0.7,0.3"]
    check_identical("separate", image, "--prior", str(tiny_images), *words)


def test_tokens_of_images(image: str) -> None:
    make_tokens(Path("tokens"), (12, 12))
    check_identical("separate", image, "--prior", "tokens", "--samples", "2", "--format", "webp")


def test_colors(tiny_colors: Path, image: str) -> None:
    strokes = np.zeros((12, 12, 4), np.uint8)
    strokes[:4, :4] = (255, 60, 60, 255)
    Image.fromarray(strokes).save("hint.png")
    words = ["--set", "steps=3", "--samples", "2", "--seed", "3", "--gray", "mean", "--hint", "hint.png"]
    record = check_identical("colorize", image, "--prior", str(tiny_colors), *words)
    assert record["hint"] == "../../hint.png"
    Path("hint.png").unlink()
    shutil.rmtree("b")
    assert replay("colorize", "a/x/run.json") == 1


@pytest.mark.slow
def test_the_default_prior(folder: Path) -> None:
    sound, rate = soundfile.read(SONG, frames=44100)
    soundfile.write("part.flac", sound, rate)
    words = ["--samples", "2", "--set", "steps=2", "--set", "window=1", "--set", "overlap=0.2"]
    assert check_identical("separate", "part.flac", *words)["prior_references"] == [SONG_PRIOR]


# ---------------------------------------------------------------- what it says


@pytest.fixture
def finished(tiny_images: Path, image: str) -> Path:
    """The record of two sources of an image."""
    shutil.copytree(tiny_images, "prior")
    assert run(["separate", image, "--prior", "prior", "-o", "a", "-q", "--set", "steps=2"]) == 0
    return Path("a/x/run.json")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("  → ")
    return f"{first} {second}"


def test_it_says_that_the_files_are_identical(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay("separate", str(finished)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "identical" in line and "3 files" in line]
    assert replay("separate", str(finished), "--json", "--overwrite") == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["replay"] == {"identical": True, "differences": [], "files": {}}


@pytest.mark.parametrize(
    ("entry", "change"),
    [
        ("versions", lambda value: value | {"torch": "1.0.0"}),
        ("threads", lambda value: value + 100_000),
        ("machine", lambda value: value | {"instructions": "ABACUS"}),
        ("plan", lambda value: value | {"samples": 9}),
    ],
)
def test_what_else_differs_is_said(
    entry: str, change: Callable[[Any], Any], finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(finished, **{entry: change(json.loads(finished.read_text())[entry])})
    assert replay("separate", str(finished)) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "→" in line]
    assert {"versions": "torch 1.0.0 →", "threads": "threads", "machine": "ABACUS", "plan": "samples 9"}[
        entry
    ] in line


def test_other_files_are_named_with_their_difference(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sepcli.catalog.card import sha256

    stem = finished.parent / "digit-1.png"
    pixels = np.asarray(Image.open(stem)).copy()
    pixels[0, 0] = 255 - pixels[0, 0]
    Image.fromarray(pixels).save(stem)
    record = json.loads(finished.read_text())
    edit(finished, outputs=record["outputs"] | {"digit-1.png": sha256(stem)})
    assert replay("separate", str(finished), "--json") == 1
    shown = capsys.readouterr()
    (result,) = json.loads(shown.out)["results"]
    expected = abs(2 * int(pixels[0, 0]) - 255) / 255
    assert result["replay"]["files"] == {"digit-1.png": pytest.approx(expected, abs=1e-6)}
    assert shown.err.startswith("error: ")
    edit(finished, threads=100_000)  # which may explain it
    assert replay("separate", str(finished), "--overwrite") == 0
    assert "1 of 3 files" in capsys.readouterr().out


def test_another_input_is_refused_and_a_moved_one_is_given(
    finished: Path, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("moved").mkdir()
    shutil.move(image, "moved/y.png")
    assert replay("separate", str(finished)) == 1
    assert "x.png" in said(capsys)
    assert replay("separate", str(finished), "moved/y.png") == 0
    assert sorted(stored("b").values()) == sorted(stored("a").values())
    Image.new("L", (12, 12), 9).save("x.png")
    assert replay("separate", str(finished), "--overwrite") == 1
    assert "sha256" in said(capsys)


def test_another_prior_is_refused_and_a_moved_one_is_given(
    finished: Path, tiny_images: Path, tiny_flow: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree("prior")
    capsys.readouterr()
    assert replay("separate", str(finished)) == 1
    assert "prior" in said(capsys)
    assert replay("separate", str(finished), "--prior", str(tiny_flow)) == 1
    assert "sha256" in said(capsys)
    assert not Path("b").exists()
    assert replay("separate", str(finished), "--prior", str(tiny_images)) == 0


def test_no_code_is_loaded_because_a_record_names_it(image: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(MODULE)
    words = ["--prior", "mine.py:white", "--sampler", "projected", "--set", "sigma_max=1", "--set", "steps=2"]
    assert run(["separate", image, "-o", "a", "-q", *words]) == 0
    Path("a/x/mine.py").write_text("raise SystemExit('executed')")
    Path("mine.py").write_text(f"open('executed', 'w')\n{MODULE}")
    capsys.readouterr()
    assert replay("separate", "a/x/run.json") == 2
    assert "mine.py:white" in said(capsys)
    assert not Path("executed").exists()
    Path("again").mkdir()
    Path("again/mine.py").write_text(MODULE)
    assert replay("separate", "a/x/run.json", "--prior", "again/mine.py:white") == 0
    assert stored("b") == {key: data for key, data in stored("a").items() if key.endswith("png")}


@pytest.mark.parametrize("words", [["--sampler", "langevin"], ["--seed", "3"], ["--set", "steps=3"]])
def test_options_of_the_record_are_not_given(
    words: list[str], finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay("separate", str(finished), *words) == 2
    assert words[0] in said(capsys)


def test_nothing_is_overwritten_in_silence(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["separate", "--replay", str(finished), "-o", "a"]) == 1
    assert "--overwrite" in said(capsys)


def test_a_record_of_the_other_command_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay("colorize", str(finished)) == 2
    assert f"sepcli separate --replay {finished}" in said(capsys)


def test_there_is_an_input_or_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("separate", "colorize"):
        assert run([command]) == 2
        assert "--replay" in said(capsys)


def test_what_is_no_choice_of_an_option_is_refused(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(finished, engine="abacus")
    assert replay("separate", str(finished)) == 1
    assert "abacus" in said(capsys)


def test_results_of_the_library_say_that_they_have_no_record(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prior = sepcli.from_denoiser(lambda x, sigma: x / (1 + sigma**2), sigma_min=0.01, sigma_max=1.0)
    separator = sepcli.Separator([prior, prior], sampler="projected", settings={"steps": 2})
    separator.separate(np.full((4, 4), 0.5)).save("saved")
    assert json.loads(Path("saved/run.json").read_text())["format"] == 1
    assert replay("separate", "saved/run.json") == 1
    assert "saved" in said(capsys)
