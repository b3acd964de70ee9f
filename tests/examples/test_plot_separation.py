"""``examples/plot_separation.py``: the mixture, every stem, and every truth that there is."""

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


def test_every_file_has_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        assert image.size == (900, 340)  # three columns, two rows of stems
        gray = np.asarray(image.convert("L"), dtype=float)
    mixture, bass, drums = gray[40:280, 100:280], gray[40:120, 380:580], gray[200:280, 380:580]
    truth = gray[200:280, 680:880]
    assert np.median(bass) < 10 < 60 < min(np.median(part) for part in (mixture, drums, truth))
    assert (gray[20:150, 620:] == 255).all()  # there is no true bass


def test_the_picture_of_the_readme_is_small() -> None:
    assert (PROGRAM.parent / "separation.png").stat().st_size < 150_000
