"""``examples/benchmarks/audio_representation.py``: all networks train and are measured."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

PROGRAM = Path(__file__).parents[2] / "examples" / "benchmarks" / "audio_representation.py"


def test_all_networks_are_measured(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("audio_representation", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    rng = np.random.default_rng(0)
    for n in range(2):
        soundfile.write(tmp_path / f"{n}.wav", 0.1 * rng.standard_normal(11 * 22050), 22050)
    kinds = [(256, False), (512, False), (256, True)]
    rows = program.compare(tmp_path, "sound", 0.1, kinds, length=8192, batch=2, tiny=True)
    assert [(row["network"], row["bands"]) for row in rows] == [
        ("frames (1-D)", 256),
        ("frames (1-D)", 512),
        ("image (2-D)", 256),
    ]
    for row in rows:
        assert row["steps"] >= 1
        # white noise has no structure: the best that can be done is Wiener's filter, where networks begin
        assert row["dB"] == pytest.approx(row["dB of Wiener"], abs=0.5)
        assert row["dB at 0.1"] > row["dB at 0.003"] - 0.1 >= -0.6
        assert row["ms per second of audio"] > 0
