"""``examples/calibrate_fit.py``: shares that are flagged, and both statistics end to end."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny_priors import write_image_prior
from tiny_sound import make_dual

from sepcli.catalog import card as cards
from sepcli.priors.images.denoiser import DenoiserConfig
from sepcli.separation.fit import FitReference

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples" / "calibrate_fit.py"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("calibrate_fit", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_shares_are_of_the_held_out_and_the_foreign_mixtures(program: ModuleType) -> None:
    values = [float(n) for n in range(60)]  # explained; a third of them is held out
    reference = FitReference(1.0, tuple(v for n, v in enumerate(values) if n % 3))
    options = argparse.Namespace(
        prior="p",
        statistic="denoising",
        sigma=1.0,
        seconds=3.0,
        explained=Path("a"),
        foreign=Path("b"),
        stem="s",
    )
    document = program.document_of(options, reference, values, [10.0, 57.5, 59.5, 80.0])
    assert document["reference"] == 40
    # fit < 0.05: one reference mixture of 40 at most is as great
    assert document["false_alarms"] == {"mixtures": 20, "flagged": 0.0}
    assert document["foreign_source"]["flagged"] == 0.5
    assert document["flagged_at_5_percent"] == 0.75
    assert document["median_db"] == {"explained": 29.5, "foreign": 58.5}


@pytest.mark.parametrize("statistic", ["denoising", "levels", "evidence"])
def test_recordings(
    program: ModuleType,
    tiny_prior: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    statistic: str,
) -> None:
    prior, rng = make_dual(tmp_path / "dual", tiny_prior, "score"), np.random.default_rng(0)
    for name in ("drums", "bass", "rest"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(1 if name == "rest" else 3):
            path = tmp_path / "data" / name / f"{number}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal(8000), 8000)
    words = [str(prior), "--explained", str(tmp_path / "data"), "--foreign", str(tmp_path / "data" / "rest")]
    words += [
        "--statistic",
        statistic,
        "--seconds",
        "0.1",
        "--count",
        "30",
        "--out",
        str(tmp_path / "r.json"),
    ]
    words += ["--samples", "2", "--steps", "3", "--noise", "0.01"]
    words += ["--card", str(prior)] if statistic == "denoising" else []
    monkeypatch.setattr(sys, "argv", ["calibrate_fit.py", *words])
    program.main()
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["statistic"] == statistic
    used: dict[str, Any] = {
        "denoising": {"sigma": 0.08},
        "levels": {"sigmas": [0.01, 0.02, 0.04, 0.08, 0.16, 0.3]},
        "evidence": {"noise": 0.01, "steps": 3, "samples": 2},
    }[statistic]
    assert {key: document.get(key) for key in used} == used
    assert (document["reference"], document["foreign_source"]["mixtures"]) == (20, 10)
    fit = cards.read(prior).fit
    assert (fit is not None) == (statistic == "denoising")
    assert fit is None or (len(fit.errors), fit.sigma) == (20, 0.08)


def test_images(program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DenoiserConfig(widths=(8,), blocks=1, attention=0, embedding=8)
    prior = write_image_prior(tmp_path / "prior", "digit", config)
    words = [str(prior), "--explained", str(ROOT / "tests" / "data" / "digits")]
    words += [
        "--foreign",
        str(ROOT / "examples" / "photo"),
        "--count",
        "6",
        "--out",
        str(tmp_path / "r.json"),
    ]
    monkeypatch.setattr(sys, "argv", ["calibrate_fit.py", *words])
    program.main()
    document = json.loads((tmp_path / "r.json").read_text())
    assert (document["explained"], document["foreign"]) == ("digits", "photo")
    assert document["false_alarms"]["mixtures"] == 2
