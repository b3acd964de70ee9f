"""The script from digits to a prior of tokens and its figures, with tiny networks and budgets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_mnist_lass_goes_from_data_to_figures_and_goes_on_where_it_was(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PRESET": "tiny",
        "BUDGET": "1s",
        "COUNTING": "1s",
        "PAIRS": "2",
        "ROWS": "greedy exact",
        "EXTRA": "--set refine=2 --set candidates=2",
    }
    command = ["bash", str(ROOT / "examples" / "reproduce" / "mnist-lass.sh")]
    command += [str(ROOT / "tests" / "data" / "digits"), str(tmp_path / "out")]
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    residuals = []
    for row in ("greedy", "exact"):
        report = json.loads((tmp_path / "out" / f"{row}.json").read_text())
        assert report["results"]["psnr"]["sepcli"]["average"]["n"] == 2
        residuals.append(report["results"]["residual"]["sepcli"]["mixture"]["mean"])
    assert residuals[1] < 0.01 < residuals[0]
    card = (tmp_path / "out" / "mnist-lass" / "card.toml").read_text()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "mnist-lass" / "card.toml").read_text() == card
