"""``examples/plot_separation.py``: the mixture, every stem that the library separates, and the true ones."""

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


def test_every_stem_has_its_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    loud, silent = 0.3 * np.random.default_rng(0).standard_normal((RATE, 2)), np.zeros((RATE, 2))
    plot = runpy.run_path(str(PROGRAM))["plot"]
    figure = plot(loud, {"drums": loud, "bass": silent}, {"drums": loud}, RATE, 1.0)
    figure.savefig(tmp_path / "plot.png", dpi=100)
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size == (900, 340)  # three columns, two rows of stems
        gray = np.asarray(image.convert("L"), dtype=float)
    mixture, bass, drums = gray[40:280, 100:280], gray[40:120, 380:580], gray[200:280, 380:580]
    truth = gray[200:280, 680:880]
    assert np.median(bass) < 10 < 60 < min(np.median(part) for part in (mixture, drums, truth))
    assert (gray[20:150, 620:] == 255).all()  # there is no true bass


def test_it_separates_by_the_public_interface(
    tmp_path: Path, tiny_prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = 0.3 * np.random.default_rng(0).standard_normal((RATE // 2, 2))
    (tmp_path / "truth").mkdir()
    for name in ("mix", "truth/drums"):
        soundfile.write(tmp_path / f"{name}.wav", noise, RATE)
    words = ["--truth", tmp_path / "truth", "--prior", tiny_prior, "--out", tmp_path / "plot.png"]
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), str(tmp_path / "mix.wav"), *map(str, words)])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size == (900, 340)


def test_plots_use_the_public_interface_alone() -> None:
    for path in PROGRAM.parent.glob("plot_*.py"):
        lines = [
            line for line in path.read_text("utf-8").splitlines() if "sepcli" in line and "import" in line
        ]
        assert lines == ["import sepcli"], path


def test_the_picture_of_the_readme_is_small() -> None:
    assert (PROGRAM.parent / "separation.png").stat().st_size < 150_000
