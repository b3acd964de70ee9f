"""``examples/benchmarks/full_tracks.py``: tracks are made, scored and timed."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import soundfile

PROGRAM = Path(__file__).parents[2] / "examples" / "benchmarks" / "full_tracks.py"


@pytest.mark.slow
def test_tracks_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = runpy.run_path(str(PROGRAM))
    estimates, references = program["write_tracks"](tmp_path, 3, 2, 1.5)
    assert sorted(path.name for path in estimates.iterdir()) == ["track 000", "track 001", "track 002"]
    for folder in (estimates, references):
        info = soundfile.info(folder / "track 002" / "vocals.wav")
        assert (info.channels, info.samplerate, info.frames) == (2, 44100, 66150)
        assert (folder / "track 002" / "bass.wav").samefile(folder / "track 000" / "bass.wav")
    words = ["--tracks", "2", "--distinct", "1", "--minutes", "0.03", "--jobs", "1"]
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *words])
    program["main"]()
    report = json.loads(capsys.readouterr().out)
    assert (report["tracks"], report["distinct"]) == (2, 1)
    for part in ("one_track", "all_tracks"):
        assert report[part]["seconds"] > 0
        assert report[part]["peak_mb"] > 50
