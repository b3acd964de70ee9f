"""``examples/benchmarks/separate_cost.py``: files of the length asked for, separated and measured."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_sound import make_sound

BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"
PROGRAM, SONG = BENCHMARKS / "separate_cost.py", BENCHMARKS.parent / "song" / "mix.flac"


def test_files_are_the_song_again_and_again(tmp_path: Path) -> None:
    song, rate = soundfile.read(SONG, dtype="int16")
    minutes = 2.25 * len(song) / rate / 60
    runpy.run_path(str(PROGRAM))["stretch"](tmp_path / "long.wav", minutes)
    made = soundfile.read(tmp_path / "long.wav", dtype="int16")[0]
    assert np.array_equal(made, np.concatenate([song, song, song])[: round(2.25 * len(song))])


@pytest.mark.slow
def test_a_file_is_separated_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    priors = [make_sound(tmp_path / name, name) for name in ("violin", "cello")]
    words = ["--minutes", "--memory", "0.02", "--options", "--prior", priors[0], "--prior", priors[1]]
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *words])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    report = json.loads(capsys.readouterr().out)
    assert report["speed"] == []
    (row,) = report["memory"]
    assert row["minutes"] == 0.02
    assert row["seconds"] > 0
    assert row["realtime_factor"] == pytest.approx(row["seconds"] / 1.2, abs=0.1)
    assert row["peak_mb"] > 50
