"""``sepcli evaluate --runner demucs``, with a program that speaks demucs' command line."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepcli.cli import runner
from sepcli.cli.app import run

RATE = 8000
STUB = """
import argparse, json, os, sys
from pathlib import Path
import soundfile

parser = argparse.ArgumentParser("demucs")
parser.add_argument("tracks", nargs="*", type=Path)
parser.add_argument("-n", "--name", default="usual")
parser.add_argument("-o", "--out", type=Path, default=Path("separated"))
parser.add_argument("-d", "--device")
given = parser.parse_args()
with open(os.environ["DEMUCS_LOG"], "a") as log:
    proxies = sorted({os.environ.get("https_proxy"), os.environ.get("HTTP_PROXY")})
    log.write(json.dumps([given.name, str(given.device), proxies]) + "\\n")
print("separating", flush=True)
if given.name == "broken":
    sys.exit("no weights \\x1b[2J")
for path in given.tracks:
    mixture, rate = soundfile.read(path)
    folder = given.out / given.name / path.stem
    if given.name == "deaf" or (given.name == "picky" and mixture.max() > 0.9):
        continue
    folder.mkdir(parents=True)
    for number, stem in enumerate(("bass", "drums")):
        soundfile.write(folder / (stem + ".wav"), (0.7 - 0.4 * number) * mixture, rate, subtype="FLOAT")
"""
TRACKS = ("-n evil", "$(touch pwned); 'x'")


@pytest.fixture(params=["program", "module"])
def demucs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stub, on the PATH or as a module; returns its log."""
    if request.param == "program":
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin" / "demucs"
        program.write_text(f"#!{sys.executable}\n{STUB}")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    else:
        (tmp_path / "lib" / "demucs").mkdir(parents=True)
        (tmp_path / "lib" / "demucs" / "__init__.py").touch()
        (tmp_path / "lib" / "demucs" / "__main__.py").write_text(STUB)
        monkeypatch.syspath_prepend(tmp_path / "lib")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    monkeypatch.setenv("DEMUCS_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example")
    return tmp_path / "log"


@pytest.fixture
def references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for number, track in enumerate(TRACKS):
        (tmp_path / "ref" / track).mkdir(parents=True)
        for stem in ("bass", "drums"):
            noise = rng.uniform(-0.3, 0.3, (2 * RATE, 2))
            noise[0] = 0.5 * number
            soundfile.write(tmp_path / "ref" / track / f"{stem}.wav", noise, RATE, subtype="FLOAT")
    return tmp_path / "ref"


def evaluate(references: Path, *words: str) -> int:
    return run(["evaluate", str(references), "--estimates", "est", "--metric", "usdr", "--json", *words])


def test_tracks_are_separated_once_and_scored(
    demucs: Path, references: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(references, "--runner", "demucs") == 0
    rows = json.loads(capsys.readouterr().out)["results"]["usdr"]
    assert list(rows) == ["htdemucs", "average", "oracle mask"]
    assert rows["htdemucs"]["bass"]["n"] == 2
    assert rows["htdemucs"]["bass"]["mean"] == pytest.approx(-10 * np.log10(0.09 + 0.49), abs=0.2)
    logged = [json.loads(line) for line in demucs.read_text().splitlines()]
    assert logged == [["htdemucs", "None", [runner.NOWHERE]]] * 2
    assert evaluate(references, "--runner", "demucs:other", "--device", "cpu") == 0
    assert list(json.loads(capsys.readouterr().out)["results"]["usdr"])[:2] == ["htdemucs", "other"]
    assert evaluate(references, "--runner", "demucs") == 0  # all is there
    assert [json.loads(line)[:2] for line in demucs.read_text().splitlines()[2:]] == [["other", "cpu"]] * 2
    assert sorted(p.name for p in (tmp_path / "est").iterdir()) == ["htdemucs", "other"]
    assert sorted(p.name for p in (tmp_path / "est" / "other").iterdir()) == sorted(TRACKS)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("model", ["broken", "deaf"])
def test_a_program_that_fails(
    model: str, demucs: Path, references: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(references, "--runner", f"demucs:{model}") == 1
    said, hint = capsys.readouterr().err.splitlines()
    assert ("no weights \\x1b[2J" if model == "broken" else "separating") in said
    assert f"demucs -n {model}" in hint
    assert not list((tmp_path / "est").rglob("*.wav"))
    assert [path.name for path in (tmp_path / "est").iterdir()] == [model]


def test_one_track_that_fails_stops_no_other(
    demucs: Path, references: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(references, "--runner", "demucs:picky") == 3
    out, err = capsys.readouterr()
    assert [failed["track"] for failed in json.loads(out)["failed"]] == [TRACKS[1]]
    assert f"warning: {TRACKS[1]} " in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runner", "spleeter"], "spleeter"),
        (["--runner", "demucs:--repo=x"], "--repo=x"),
        (["--runner", "demucs:../x"], "../x"),
    ],
)
def test_bad_words(
    words: list[str], message: str, demucs: Path, references: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(references, *words) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 2
    assert message in err
    assert not demucs.exists()


def test_no_demucs(
    references: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert evaluate(references, "--runner", "demucs") == 1
    assert "pip install" in capsys.readouterr().err
    assert run(["evaluate", "--runner", "demucs"]) == 2
    assert "--estimates" in capsys.readouterr().err
