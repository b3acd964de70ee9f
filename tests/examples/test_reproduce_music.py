"""``music-likelihood.sh`` on a miniature of MUSDB18, with tiny networks and budgets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_songs import make_musdb

SCRIPT = Path(__file__).parents[2] / "examples" / "reproduce" / "music-likelihood.sh"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_songs_go_to_a_matrix_and_it_goes_on_where_it_was(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PRESET": "tiny",
        "FLOW_BUDGET": "1s",
        "SOURCES": "vocals bass",
        "CROSS_PAIRS": "2",
        "NOISES": "0.02",
    }
    out = tmp_path / "out"
    command = ["bash", str(SCRIPT), str(make_musdb(tmp_path / "musdb")), str(out)]

    def start() -> None:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    start()
    report = json.loads((out / "cross-0.02.json").read_text())
    assert (report["sources"], report["n"], report["subset"]) == (["vocals", "bass"], 2, "test")
    assert report["noise"] == pytest.approx(0.02, rel=0.01)
    assert (out / "cross-0.02.png").stat().st_size > 0
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    start()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == times
