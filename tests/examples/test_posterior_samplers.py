"""``examples/benchmarks/posterior_samplers.py``: samplers are measured with one prior, and compared."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tiny_priors import write_image_prior

from sepcli.datasets.pair_folder import Pair
from sepcli.priors.images.denoiser import DenoiserConfig

BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"
PROGRAM = BENCHMARKS / "posterior_samplers.py"
DIGITS = Path(__file__).parents[1] / "data" / "digits"


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The options of a short run with a tiny network."""
    config = DenoiserConfig(widths=(8,), blocks=1, attention=0, embedding=8)
    prior = write_image_prior(tmp_path / "tiny", "digit", config)
    words = ["--mnist", str(DIGITS), "--prior", str(prior), "--pairs", "2"]
    return [*words, "--out", str(tmp_path / "report.json")]


def module(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module(name)


def test_own_samplers_are_measured(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *words, "--packages", "sepcli", "--grid-pairs", "0"])
    try:
        runpy.run_path(str(PROGRAM), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    report = json.loads((tmp_path / "report.json").read_text())
    evaluations = {row["sampler"]: row["evaluations"] for row in report["rows"]}
    assert evaluations == {"projected, default": 50, "halving": 48, "projected": 64, "langevin": 64}
    assert all(row["backwards"] == 0 and row["cpu_seconds"] > 0 for row in report["rows"])
    assert report["comparison"] == {}
    assert 5 < report["half"] < 30


def test_the_best_settings_are_chosen_and_measured_on_other_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    program, rows = (module(monkeypatch, name) for name in ("posterior_samplers", "sampler_rows"))
    counted = module(monkeypatch, "counted").Counted(Shrink())
    truth = np.random.default_rng(0).random((2, 1, 4, 4), dtype=np.float32)
    pairs = [Pair("one", truth, 0), Pair("two", 1 - truth, 0)]

    def run(prior: Any, mixtures: torch.Tensor, settings: Any, seed: int) -> torch.Tensor:
        error = settings["error"] * torch.ones(2, 1, 1, 1)
        prior.moments(mixtures[:, None], torch.tensor(1.0))
        return mixtures[:, None] * 0 + error + torch.from_numpy(truth)[[1, 0]]

    choices = rows.grid(error=(torch.nan, 0.2, 0.1))
    row = program.measure(rows.Method("a", "b", choices, run, True), counted, pairs[:1], pairs[:1], 0)
    assert row["settings"] == {"error": 0.1}
    assert [entry["settings"]["error"] for entry in row["grid"]][:2] == [0.1, 0.2]
    assert row["grid"][2]["psnr"] is None
    assert row["evaluations"] == 1
    assert row["values"][0] > row["grid"][1]["psnr"]
    assert row["values"][0] == pytest.approx(row["grid"][0]["psnr"], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("package", ["azula", "deepinv"])
def test_samplers_of_others_are_measured(package: str, words: list[str], tmp_path: Path) -> None:
    pytest.importorskip(package, exc_type=ImportError)
    command = [sys.executable, str(PROGRAM), *words, "--packages", "sepcli", package, "--grid-pairs", "0"]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    report = json.loads((tmp_path / "report.json").read_text())
    others = [row for row in report["rows"] if row["package"] == package]
    assert len(others) > 5
    assert {row["evaluations"] for row in others} == {64}
    gradients = {row["sampler"]: row["backwards"] for row in others}
    assert gradients["DPS"] == 64
    assert gradients["DiffPIR"] == 0
    assert report["comparison"]["other"].startswith(package)


def test_gradients_are_counted_and_are_those_of_the_denoiser(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = module(monkeypatch, "counted").Counted(Shrink())
    x = torch.randn(3, 2, 4, 4, requires_grad=True)
    mean = counted.mean(x, torch.tensor(1.0))
    assert torch.equal(mean, x / 2)
    for _ in range(2):
        (gradient,) = torch.autograd.grad(mean.sum(), x, retain_graph=True)
        assert torch.equal(gradient, torch.full_like(x, 0.5))
    _, pull = torch.func.vjp(lambda z: counted.mean(z, torch.tensor(1.0)), x.detach())
    assert torch.equal(pull(torch.ones_like(x))[0], torch.full_like(x, 0.5))
    assert (counted.evaluations, counted.backwards) == (6, 9)


class Shrink:
    """The denoiser of N(0, 1)."""

    has_variance = True

    def score(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return -x / (1 + sigma**2)

    def moments(self, x: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gain = 1 / (1 + sigma**2)
        return gain * x, (gain * sigma**2).expand_as(x)


def row(package: str, sampler: str, values: list[float], seconds: float, evaluations: int) -> dict[str, Any]:
    costs = {"cpu_seconds": seconds, "seconds": 2 * seconds, "evaluations": evaluations}
    return {"package": package, "sampler": sampler, "values": values, **costs}


def test_the_best_within_the_budget_is_compared_with_the_best_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        row("sepcli", "long", [40.0, 40.0], 9.0, 100),
        row("sepcli", "short", [30.0, 32.0], 1.0, 64),
        row("sepcli", "worse", [20.0, 20.0], 0.1, 10),
        row("azula", "good", [26.0, 27.0], 4.0, 64),
        row("deepinv", "broken", [np.nan, 90.0], 4.0, 64),
    ]
    compare = module(monkeypatch, "sampler_rows").compare
    found = compare(rows)
    assert (found["ours"], found["other"]) == ("sepcli short", "azula good")
    assert (found["decibels"], found["cpu_ratio"], found["ratio"]) == (4.5, 4.0, 4.0)
    assert found["ci95"][0] == 4.0
    assert "4.5 dB ahead" in found["sentence"]
    rows[3]["values"] = [33.0, 33.0]
    assert "2.0 dB behind" in compare(rows)["sentence"]
