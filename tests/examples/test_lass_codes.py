"""``examples/benchmarks/lass_codes.py``: memory per count, and every command of the chain."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "benchmarks" / "lass_codes.py"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_a_small_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    words = ["--tokens", "2000", "--images", "12", "--triples", "20000", "--beams", "2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *words])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    report = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == report
    assert report["codes"] == 16384
    assert 19_000 < report["tokens"]["nonzeros"] <= 20_000
    assert report["tokens"]["bytes_per_nonzero"] < 120
    assert all(report["images"][step]["peak_mb"] > 50 for step in ("start", "import", "count", "separate"))
