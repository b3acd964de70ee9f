"""``examples/benchmarks/preset_cost.py``: evaluations of the presets, and mixtures at the engines' level."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

import sepcli

PROGRAM = Path(__file__).parents[2] / "examples" / "benchmarks" / "preset_cost.py"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("preset_cost", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_says_what_a_sample_takes(program: ModuleType) -> None:
    row = program.cost_of("mnist", "draws", 1)
    used = {key: row[key] for key in ("prior", "preset", "sampler", "evaluations", "backward_passes")}
    assert used == {
        "prior": "mnist",
        "preset": "draws",
        "sampler": "projected",
        "evaluations": 48,
        "backward_passes": 0,
    }
    assert row["processor_seconds"] > 0.0
    assert row["clock_seconds"] > 0.0


def test_a_recording_has_the_level_of_the_engine(program: ModuleType) -> None:
    separator = sepcli.load("slakh-drums-bass")
    mixture = program.mixture_of(separator)
    assert mixture.shape == (1, 1, 3 * separator.sample_rate)
    assert float(mixture.std()) == pytest.approx(separator.stream.reference_rms, rel=1e-3)
    assert torch.isfinite(mixture).all()
