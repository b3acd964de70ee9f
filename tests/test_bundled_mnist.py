"""The bundled priors of digits do what the README says, on the example and on a few test digits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepcli.cli.app import run
from sepcli.metrics.assignment import best_permutation
from sepcli.metrics.images import psnr

DIGITS = Path(__file__).parents[1] / "examples" / "digits"
TEST_DIGITS = Path(__file__).parent / "data" / "digits"


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L"), dtype=np.float64) / 255


@pytest.mark.slow
def test_the_example_is_separated(tmp_path: Path) -> None:
    assert run(["separate", str(DIGITS / "mix.png"), "--prior", "mnist", "--out", str(tmp_path), "-q"]) == 0
    found = [read(path) for path in sorted((tmp_path / "mix").glob("digit-*.png"))]
    truth = [read(DIGITS / name) for name in ("nine.png", "three.png")]
    assert len(found) == 2
    table = np.array([[psnr(source, estimate) for estimate in found] for source in truth])
    order = best_permutation(table)
    assert np.mean([table[k, order[k]] for k in range(2)]) > 25.0  # half the mixture: 15.1
    assert np.abs(sum(found) / 2 - read(DIGITS / "mix.png")).max() <= 2 / 255


@pytest.mark.slow
def test_tokens_separate_test_digits(tmp_path: Path) -> None:
    words = ["evaluate", "--dataset", "mnist", "--data", str(TEST_DIGITS), "--prior", "mnist-lass"]
    assert run([*words, "--pairs", "4", "--metric", "psnr", "--out", str(tmp_path / "r.json"), "-q"]) == 0
    rows = json.loads((tmp_path / "r.json").read_text())["results"]["psnr"]
    means = {name: row["average"]["mean"] for name, row in rows.items()}
    assert means["sepcli"] > 20.0 > means["average"]  # of single pairs 14 to 30
