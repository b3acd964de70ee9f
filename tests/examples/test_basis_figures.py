"""``examples/basis_figures.py``: every figure and number, of an untrained prior."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image
from torch import Tensor

from sepcli.samplers.langevin import Langevin

PROGRAM = Path(__file__).parents[2] / "examples" / "basis_figures.py"
DIGITS = Path(__file__).parents[1] / "data" / "digits"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("basis_figures", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["basis_figures"] = module  # dataclasses look there for the annotations
    spec.loader.exec_module(module)
    return module


class Gaussian:
    """The posterior N(0, 1) of one source."""

    like = torch.empty(1, 1, 1, 2, 2)

    def score(self, state: Tensor, sigma: Tensor) -> Tensor:
        return -state

    def sources(self, state: Tensor) -> Tensor:
        return 2 * state


def test_a_recorder_changes_nothing_and_records_the_states(program: ModuleType) -> None:
    sampler = Langevin(levels=3, steps=4)
    recorder, seeds = program.Recorder(Gaussian(), 2), torch.tensor([5])
    final = sampler(recorder, seeds)
    assert torch.equal(final, sampler(Gaussian(), seeds))
    assert len(recorder.states) == 6
    assert 0.0 <= recorder.states[0].min() <= recorder.states[0].max() < 2.0  # twice a uniform state


def test_all_figures_and_numbers_are_written(program: ModuleType, tiny_images: Path, tmp_path: Path) -> None:
    words = ["--prior", str(tiny_images), "--data", str(DIGITS), "--quick", "--out"]
    assert program.main([*words, str(tmp_path / "one")]) == 0
    for number in (1, 2, 3):
        with Image.open(tmp_path / "one" / f"figure{number}.png") as image:
            image.load()
    numbers = json.loads((tmp_path / "one" / "figures.json").read_text())
    norms = numbers["score_norms"]
    assert [norms["sigma"][0], norms["sigma"][-1]] == pytest.approx([1.0, 0.01])
    assert all(low <= mean <= high for low, mean, high in zip(norms["low"], norms["mean"], norms["high"]))  # noqa: B905
    curves = numbers["trajectories"]["psnr"]
    assert len(curves) == 4
    assert {len(curve) for curve in curves.values()} == {3 * 2 + 1}
    assert len({curve[-1] for curve in curves.values()}) == 4
    assert len({curve[0] for curve in curves.values()}) == 1
    assert numbers["reconstruction"]["projected"]["steps_of_8_bits"] < 0.01
    assert numbers["reconstruction"]["projected"]["share_below_one_step"] == 1.0
    assert numbers["reconstruction"]["langevin"]["steps_of_8_bits"] > 0.01
    assert numbers["reconstruction"]["langevin"]["evaluations"] == 6


def test_what_is_missing_is_said(
    program: ModuleType, tiny_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--prior", str(tiny_images), "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert program.main(words) == 1
    assert "t10k-images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
