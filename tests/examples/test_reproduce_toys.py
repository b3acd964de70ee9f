"""``toy-waves.sh`` with tiny networks and budgets: flows, encoders and both separations."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "reproduce" / "toy-waves.sh"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_toy_waves_go_from_nothing_to_figures(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PRESET": "tiny",
        "FLOW_BUDGET": "1s",
        "ENCODER_BUDGET": "1s",
        "CROSS_PAIRS": "2",
        "PAIRS": "2",
        "LANGEVIN_PAIRS": "1",
        "LANGEVIN": "--set levels=2 --set steps=2",
    }
    command = ["bash", str(SCRIPT), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, count in (("variational", 2), ("langevin", 1)):
        report = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert report["protocol"]["stems"] == ["sine", "square", "sawtooth", "triangle"]
        assert report["results"]["si-sdr"]["average"]["sine"]["n"] == count
    for noise in ("0", "0.02", "0.1"):
        assert len(json.loads((tmp_path / "out" / f"cross-{noise}.json").read_text())["sources"]) == 4
