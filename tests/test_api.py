"""``import sepcli``: what it exports, how little it loads, and unconditional samples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import sepcli
from sepcli.samplers import names

EXPORTED = {
    *("ChannelMean", "ChannelSum", "InputError", "Luma", "OutputError", "PriorError", "Result", "SepError"),
    *("Separator", "UsageError", "WeightedSum", "__version__", "datasets", "evaluate", "from_denoiser"),
    *("from_diffusers", "from_score", "load", "sample", "samplers"),
}


def score(x: Tensor, sigma: Tensor) -> Tensor:
    """That of N(0, 1/4)."""
    return -x / (0.25 + sigma**2)


def test_the_exports_are_these() -> None:
    assert set(sepcli.__all__) == EXPORTED == set(dir(sepcli))
    for name in EXPORTED:
        assert getattr(sepcli, name) is not None
    with pytest.raises(AttributeError, match="lod"):
        sepcli.lod  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("module", ["sepcli", "sepcli.samplers", "sepcli.priors", "sepcli.settings"])
def test_tables_load_without_torch(module: str) -> None:
    code = f"import sys; sys.modules['torch'] = None; import {module}; print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.slow
def test_a_type_checker_sees_a_typo(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import sepcli\n\nsepcli.lod('mnist')\n", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(program)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert '"lod"' in found.stdout


@pytest.mark.parametrize("sampler", [None, *names("signal")])
def test_every_sampler_samples_the_prior(sampler: str | None) -> None:
    prior = sepcli.from_score(score, 0.01, 3.0)
    langevin = {"centred": 1, "levels": 30, "steps": 10, "ratio": 0.1}
    settings = langevin if sampler == "langevin" else {"steps": 200} if sampler is None else {}
    x = sepcli.sample(prior, n=4, shape=(1, 24, 24), seed=1, sampler=sampler, settings=settings)
    assert x.shape == (4, 1, 24, 24)
    assert abs(float(x.mean())) < 0.05
    if sampler is None:  # ancestral sampling draws from the prior; others are sharper by design
        assert float(x.var()) == pytest.approx(0.25, rel=0.06)
    again = sepcli.sample(prior, n=2, shape=(1, 24, 24), seed=1, sampler=sampler, settings=settings)
    torch.testing.assert_close(again, x[:2])


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1.0, 1.0), (0.1, float("inf"))])
def test_an_empty_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(sepcli.UsageError):
        sepcli.from_denoiser(score, low, high)


@pytest.mark.parametrize("items", ["songs", Path("songs")])
def test_a_folder_is_no_items(items: str | Path) -> None:
    separator = sepcli.Separator(sepcli.from_score(score, 0.01, 3.0))
    with pytest.raises(sepcli.UsageError) as error:
        sepcli.evaluate(separator, items)
    assert error.value.argument == "items"
    assert "sepcli.datasets" in error.value.hint
