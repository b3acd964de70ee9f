"""The scripts from data to figures, with tiny networks and budgets."""

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
def test_mnist_goes_from_data_to_figures_and_goes_on_where_it_was(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PRESET": "tiny",
        "BUDGET": "1s",
        "PAIRS": "2",
        "ROWS": "halving-50",
    }
    command = ["bash", str(ROOT / "examples" / "reproduce" / "mnist.sh")]
    command += [str(ROOT / "tests" / "data" / "digits"), str(tmp_path / "out")]
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    for split in ("none", "class"):
        report = json.loads((tmp_path / "out" / f"halving-50-{split}.json").read_text())
        assert report["results"]["psnr"]["sepcli"]["average"]["n"] == 2
        assert report["cost"]["evaluations"] <= 50
    card = (tmp_path / "out" / "mnist" / "card.toml").read_text()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "mnist" / "card.toml").read_text() == card
