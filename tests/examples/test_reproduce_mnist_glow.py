"""The script from digits to a Glow and its figures, with a tiny flow and budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_scripts import run_script

DIGITS = Path(__file__).parents[1] / "data" / "digits"


@pytest.mark.slow
def test_mnist_glow_goes_from_data_to_figures(tmp_path: Path) -> None:
    few = {"PRESET": "tiny", "BUDGET": "1s", "PAIRS": "2", "SPLITS": "none", "ROWS": "halving-1 halving-2"}
    run_script("reproduce/mnist-glow.sh", DIGITS, tmp_path, **few)
    protocols = [json.loads((tmp_path / f"halving-{n}-none.json").read_text())["protocol"] for n in (1, 2)]
    assert [protocol["settings"]["draws"] for protocol in protocols] == [1, 2]
    assert all(protocol["settings"]["sampler"].startswith("Halving(") for protocol in protocols)
