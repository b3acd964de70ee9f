"""``examples/plot_separation.py``: a row for the mixture, every stem and every truth that there is."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

PROGRAM = Path(__file__).parents[2] / "examples" / "plot_separation.py"
RATE = 44100


def test_every_file_has_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    loud, silent = 0.3 * np.random.default_rng(0).standard_normal(RATE), np.zeros(RATE)
    files = {"mix": loud, "stems/bass": silent, "stems/drums": loud, "truth/drums": loud}
    for name, signal in files.items():
        path = tmp_path / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, signal, RATE)
    words = [tmp_path / "mix.wav", tmp_path / "stems", "--truth", tmp_path / "truth", "--seconds", "1"]
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *map(str, words), "--out", str(tmp_path / "plot.png")])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size == (720, round(4 * 1.7 * 80))  # mixture, bass, drums, and drums as they are
        rows = np.array_split(np.asarray(image.convert("L"), dtype=float)[:, 200:600], 4)
    bright = [np.median(row) for row in rows]
    assert bright[1] < 10 < 60 < min(bright[0], bright[2], bright[3])
