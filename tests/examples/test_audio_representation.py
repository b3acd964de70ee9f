"""``examples/benchmarks/audio_representation.py``: both networks train and are measured."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

PROGRAM = Path(__file__).parents[2] / "examples" / "benchmarks" / "audio_representation.py"


def test_both_networks_are_measured(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("audio_representation", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    rng = np.random.default_rng(0)
    for n in range(2):
        soundfile.write(tmp_path / f"{n}.wav", 0.1 * rng.standard_normal(11 * 22050), 22050)
    rows = program.compare(tmp_path, 0.1, frames=16, batch=2, tiny=True)
    assert [row["network"] for row in rows] == ["frames (1-D)", "picture (2-D)"]
    for row in rows:
        assert row["steps"] >= 1
        assert row["error left"] == pytest.approx(1.0, abs=0.2)
        assert row["× ms"] == pytest.approx(row["error left"] * row["ms per second of sound"], rel=0.05)
