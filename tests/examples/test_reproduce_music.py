"""``music-likelihood.sh`` on a miniature of MUSDB18, with tiny networks and budgets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_scripts import run_script
from tiny_songs import make_musdb


@pytest.mark.slow
def test_songs_go_to_a_matrix_and_it_goes_on_where_it_was(tmp_path: Path) -> None:
    few = {
        "PRESET": "tiny",
        "FLOW_BUDGET": "1s",
        "SOURCES": "vocals bass",
        "CROSS_PAIRS": "2",
        "NOISES": "0.02",
    }
    data, out = make_musdb(tmp_path / "musdb"), tmp_path / "out"

    def start() -> None:
        run_script("reproduce/music-likelihood.sh", data, out, **few)

    start()
    report = json.loads((out / "cross-0.02.json").read_text())
    assert (report["sources"], report["n"], report["subset"]) == (["vocals", "bass"], 2, "test")
    assert report["noise"] == pytest.approx(0.02, rel=0.01)
    assert (out / "cross-0.02.png").stat().st_size > 0
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    start()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == times
