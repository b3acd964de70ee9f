"""The script from a folder of color images to a prior and its figures, with a tiny network and budget."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from example_scripts import run_script
from finished_cards import check_card
from PIL import Image

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.mark.slow
def test_a_color_prior_is_trained_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, name in product(("train", "test"), CLASSES):
        folder = tmp_path / "data" / part / name
        folder.mkdir(parents=True)
        for n in range(2):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{n:04d}.jpg")
    out = tmp_path / "out"

    def start() -> None:
        run_script("reproduce/cifar10.sh", tmp_path / "data", out, PRESET="tiny", BUDGET="1s", PAIRS="3")

    start()
    config = json.loads((out / "cifar10" / "denoiser" / "config.json").read_text())
    assert (config["channels"], config["size"]) == (3, [32, 32])
    for name, metric in (("colors", "psnr"), ("pairs-any", "ssim"), ("pairs-class", "cs-cifar")):
        report = json.loads((out / f"{name}.json").read_text())
        assert {"fd-cifar", metric} <= set(report["protocol"]["metrics"])
    names = ("colors", "pairs-any", "pairs-class")
    check_card(out / "cifar10", "cifar10", *(out / f"{name}.json" for name in names))
    card = (out / "cifar10" / "card.toml").read_bytes()
    start()
    assert (out / "cifar10" / "card.toml").read_bytes() == card
