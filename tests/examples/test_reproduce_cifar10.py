"""The script from a folder of colour pictures to a prior and its figures, with a tiny network and budget."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
SCRIPT = Path(__file__).parents[2] / "examples" / "reproduce" / "cifar10.sh"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_a_colour_prior_is_trained_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, name in product(("train", "test"), CLASSES):
        folder = tmp_path / "data" / part / name
        folder.mkdir(parents=True)
        for n in range(2):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{n:04d}.jpg")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PRESET": "tiny", "BUDGET": "1s", "PAIRS": "3"}
    command = ["bash", str(SCRIPT), str(tmp_path / "data"), str(tmp_path / "out")]
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    config = json.loads((tmp_path / "out" / "cifar10" / "denoiser" / "config.json").read_text())
    assert (config["channels"], config["size"]) == (3, [32, 32])
    card = (tmp_path / "out" / "cifar10" / "card.toml").read_text()
    for name, metric in (("colours", "psnr"), ("pairs-none", "ssim"), ("pairs-class", "cs-cifar")):
        report = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert {"fd-cifar", metric} <= set(report["protocol"]["metrics"])
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "cifar10" / "card.toml").read_text() == card
