"""``examples/plot_colors.py``: gray, a sample of this gray, and the photograph, a row for each."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROGRAM = Path(__file__).parents[2] / "examples" / "plot_colors.py"


def test_every_photograph_has_three_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colors = np.random.default_rng(0).integers(60, 200, (2, 2, 3), np.uint8)
    for number, size in enumerate([(320, 200), (100, 300)]):
        Image.fromarray(colors).resize(size).save(tmp_path / f"{number}.png")
    words = [str(tmp_path / "0.png"), str(tmp_path / "1.png"), "--samples", "2"]
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *words, "--out", str(tmp_path / "out.png")])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (3 * 210 + 2 * 4, 2 * 140 + 4)
        pixels = np.asarray(image).astype(float)
    luma = pixels @ [0.299, 0.587, 0.114]
    for top in (0, 144):
        gray, ours, truth = (luma[top : top + 140, left : left + 210] for left in (0, 214, 428))
        assert np.abs(ours - gray).max() < 1.6
        assert np.abs(truth - gray).max() < 1.6
        assert np.ptp(pixels[top : top + 140, :210], axis=-1).max() == 0
        assert np.ptp(pixels[top : top + 140, 214:424], axis=-1).max() > 3
