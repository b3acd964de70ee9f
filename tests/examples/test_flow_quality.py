"""``examples/benchmarks/flow_quality.py``: denoising errors, and bits of priors with a density."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from example_scripts import EXAMPLES

PROGRAM = EXAMPLES / "benchmarks" / "flow_quality.py"
DIGITS = Path(__file__).parents[1] / "data" / "digits"


def test_the_denoiser_denoises_better_than_the_flow_which_has_bits() -> None:
    words = [sys.executable, str(PROGRAM), "--mnist", str(DIGITS), "--images", "4", "mnist", "mnist-flow"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    header, _, denoiser, flow = ([cell.strip() for cell in line.split("|")[1:-1]] for line in printed)
    assert header[:2] == ["prior", "bits per dimension"]
    assert (denoiser[:2], flow[0]) == (["mnist", "–"], "mnist-flow")
    assert 1.0 < float(flow[1]) < 3.0
    errors = [[float(cell) for cell in row[2:]] for row in (denoiser, flow)]
    assert all(row == sorted(row) for row in errors)
    assert errors[0][-1] < errors[1][-1] < 0.3
