"""``examples/benchmarks/against.py``: two versions by the same Python, in turns."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "benchmarks" / "against.py"


@pytest.mark.slow
def test_a_version_beside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = PROGRAM.parents[2]
    found = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip("no git repository")
    report = tmp_path / "against.json"
    words = ["HEAD", "--work", "start", "--repeats", "1", "--out", str(report)]
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *words])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    said = json.loads(report.read_text())
    (row,) = said["rows"]
    assert (said["before"], row["work"]) == ("HEAD", "start")
    assert row["ratio"] == pytest.approx(row["seconds_now"] / row["seconds_before"], rel=0.1)


def test_time_and_memory_are_those_of_the_process(tmp_path: Path) -> None:
    (tmp_path / "sepcli").mkdir()
    (tmp_path / "sepcli" / "__init__.py").touch()
    code = "import sys, time\nkept = bytearray(b'x' * 300_000_000)\ntime.sleep(0.5)\nopen(sys.argv[1], 'x')\n"
    (tmp_path / "sepcli" / "__main__.py").write_text(code)
    took = runpy.run_path(str(PROGRAM))["run"](tmp_path, ["OUT.json", "--quiet"], tmp_path / "result", False)
    assert (tmp_path / "result.json").is_file()
    assert took.seconds > 0.5
    assert took.megabytes > 300
