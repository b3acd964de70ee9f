"""``toy-waves.sh`` with tiny networks and budgets: flows, encoders and what separates by them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_scripts import run_script
from finished_cards import check_figures

from sepcli.catalog import card as cards


@pytest.mark.slow
def test_toy_waves_go_from_nothing_to_figures(tmp_path: Path) -> None:
    few = {
        "PRESET": "tiny",
        "FLOW_BUDGET": "1s",
        "ENCODER_BUDGET": "1s",
        "CROSS_PAIRS": "2",
        "PAIRS": "2",
        "LANGEVIN_PAIRS": "1",
        "LANGEVIN": "--set levels=2 --set steps=2",
        "FLOW_PAIRS": "1",
        "PROJECTED": "--set steps=2",
    }

    def start() -> bytes:
        run_script("reproduce/toy-waves.sh", tmp_path / "out", **few)
        return (tmp_path / "out" / "toy-waves" / "card.toml").read_bytes()

    first = start()
    card = cards.read(tmp_path / "out" / "toy-waves")
    assert card.engine == "score"
    for name, count in (("variational", 2), ("langevin", 1), ("projected", 1)):
        report = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert report["protocol"]["stems"] == ["sine", "square", "sawtooth", "triangle"]
        assert report["results"]["si-sdr"]["average"]["sine"]["n"] == count
        check_figures(card.figures[name], report)
    for noise in ("0", "0.02", "0.1"):
        report = json.loads((tmp_path / "out" / f"cross-{noise}.json").read_text())
        assert len(report["sources"]) == 4
        assert card.figures[f"cross-{noise}"]["verdict"] == report["sentence"]
    assert start() == first
