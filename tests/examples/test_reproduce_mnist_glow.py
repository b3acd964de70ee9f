"""The script from digits to a Glow and its figures, with a tiny flow and budget."""

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
def test_mnist_glow_goes_from_data_to_figures(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PRESET": "tiny",
        "BUDGET": "1s",
        "PAIRS": "2",
        "SPLITS": "none",
        "ROWS": "halving-1 halving-2",
    }
    command = ["bash", str(ROOT / "examples" / "reproduce" / "mnist-glow.sh")]
    command += [str(ROOT / "tests" / "data" / "digits"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    protocols = [json.loads((tmp_path / f"halving-{n}-none.json").read_text())["protocol"] for n in (1, 2)]
    assert [protocol["settings"]["draws"] for protocol in protocols] == [1, 2]
    assert all(protocol["settings"]["sampler"].startswith("Halving(") for protocol in protocols)
