"""The script from digits to a prior of tokens and its figures, with tiny networks and budgets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_scripts import run_script
from finished_cards import check_card

DIGITS = Path(__file__).parents[1] / "data" / "digits"


@pytest.mark.slow
def test_mnist_lass_goes_from_data_to_figures_and_goes_on_where_it_was(tmp_path: Path) -> None:
    few = {
        "PRESET": "tiny",
        "BUDGET": "1s",
        "COUNTING": "1s",
        "PAIRS": "2",
        "ROWS": "greedy exact",
        "EXTRA": "--set refine=2 --set candidates=2",
    }

    def start() -> None:
        run_script("reproduce/mnist-lass.sh", DIGITS, tmp_path / "out", **few)

    start()
    residuals = []
    for row in ("greedy", "exact"):
        report = json.loads((tmp_path / "out" / f"{row}.json").read_text())
        assert report["results"]["psnr"]["sepcli"]["average"]["n"] == 2
        residuals.append(report["results"]["residual"]["sepcli"]["mixture"]["mean"])
    assert residuals[1] < 0.01 < residuals[0]
    out = tmp_path / "out"
    check_card(out / "mnist-lass", "mnist-lass", out / "greedy.json", out / "exact.json")
    card = (out / "mnist-lass" / "card.toml").read_bytes()
    start()
    assert (out / "mnist-lass" / "card.toml").read_bytes() == card
