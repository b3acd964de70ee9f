"""``examples/benchmarks/sampler_sweep.py``: variants are separated and scored."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_sound import make_sound

PROGRAM = Path(__file__).parents[2] / "examples" / "benchmarks" / "sampler_sweep.py"


def test_variants_and_numbers_of_samples_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for name in ("violin", "cello"):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        for item in range(2):
            soundfile.write(
                tmp_path / "pairs" / name / f"{item}.flac", 0.1 * rng.standard_normal(16000), 8000
            )
    words = [str(tmp_path / "pairs"), "--names", "violin", "cello", "--samples", "1", "8"]
    words += ["--sampler", "projected"]
    for name in ("violin", "cello"):
        words += ["--prior", make_sound(tmp_path / name, name)]
    words += ["--variant", "steps=2", "--variant", "steps=4,eta=0", "--json", str(tmp_path / "rows.json")]
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *words])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["settings"], row["samples"]) for row in rows] == [
        ("steps=2", 1),
        ("steps=2", 8),
        ("steps=4,eta=0", 1),
        ("steps=4,eta=0", 8),
    ]
    # two priors that know the same of two noises of one level: half of the mixture is each one's, 3 dB
    assert rows[3]["SDR"] > rows[2]["SDR"] + 1.0
    assert rows[3]["SDR"] == pytest.approx(3.0, abs=0.8)
