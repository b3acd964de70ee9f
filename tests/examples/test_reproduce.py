"""The scripts from data to figures, with tiny networks and budgets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_scripts import run_script
from finished_cards import check_card

DIGITS = Path(__file__).parents[1] / "data" / "digits"


@pytest.mark.slow
def test_mnist_goes_from_data_to_figures_and_goes_on_where_it_was(tmp_path: Path) -> None:
    def start() -> None:
        words = (DIGITS, tmp_path / "out")
        run_script("reproduce/mnist.sh", *words, PRESET="tiny", BUDGET="1s", PAIRS="2", ROWS="halving-50")

    start()
    for pairing in ("any", "class"):
        report = json.loads((tmp_path / "out" / f"halving-50-{pairing}.json").read_text())
        assert report["results"]["psnr"]["sepcli"]["average"]["n"] == 2
        assert report["cost"]["evaluations"] <= 50
    out = tmp_path / "out"
    check_card(out / "mnist", "mnist", out / "halving-50-any.json", out / "halving-50-class.json")
    card = (out / "mnist" / "card.toml").read_bytes()
    start()
    assert (out / "mnist" / "card.toml").read_bytes() == card
