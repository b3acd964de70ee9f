"""The script from digits to a flow and its figures, with a tiny flow and budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_scripts import EXAMPLES, run_script
from finished_cards import check_card

from sepcli.catalog import card as cards
from sepcli.cli.app import run

GLOW = str(EXAMPLES / "reproduce" / "mnist-glow")
"""A prior that is not bundled."""
DIGITS = Path(__file__).parents[1] / "data" / "digits"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "name", "like"),
    [("tarflow", "mnist-flow", "mnist-flow"), ("glow", "mnist-glow", GLOW)],
)
def test_a_flow_goes_from_data_to_figures(family: str, name: str, like: str, tmp_path: Path) -> None:
    few = {"PRESET": "tiny", "BUDGET": "1s", "PAIRS": "2", "PAIRINGS": "any", "ROWS": "halving-1 halving-2"}
    run_script("reproduce/mnist-flows.sh", DIGITS, tmp_path, FAMILY=family, **few)
    reports = [json.loads((tmp_path / f"halving-{n}-any.json").read_text()) for n in (1, 2)]
    protocols = [report["protocol"] for report in reports]
    assert all(set(report["results"]) >= {"psnr", "nll"} for report in reports)
    assert [protocol["settings"]["samples"] for protocol in protocols] == [1, 2]
    assert all(protocol["settings"]["sampler"] == "halving" for protocol in protocols)
    paths = [tmp_path / f"halving-{n}-any.json" for n in (1, 2)]
    check_card(tmp_path / name, like, *paths)


@pytest.mark.slow
def test_a_fine_tuned_flow_is_continued_with_whenever_the_script_was_stopped(tmp_path: Path) -> None:
    train = ["train-prior", "--family", "glow", "--data", str(DIGITS), "--out", str(tmp_path / "mnist-glow")]
    train += ["--preset", "tiny", "--steps", "2", "--batch", "4", "--device", "cpu", "-q"]
    assert run([*train, "--set", "clean=1"]) == 0
    assert run([*train, "--set", "finetune_noise=1", "--set", "levels=2"]) == 0
    few = {"FAMILY": "glow", "FINETUNE": "1", "PAIRS": "1", "PAIRINGS": "any", "ROWS": "halving-1"}
    trained = cards.read(tmp_path / "mnist-glow")
    run_script("reproduce/mnist-flows.sh", DIGITS, tmp_path, **few)
    finished = cards.read(tmp_path / "mnist-glow")
    assert (finished.parts, finished.files) == (trained.parts, trained.files)
    check_card(tmp_path / "mnist-glow", GLOW, tmp_path / "halving-1-any.json")
    card = (tmp_path / "mnist-glow" / "card.toml").read_bytes()
    run_script("reproduce/mnist-flows.sh", DIGITS, tmp_path, **few)
    assert (tmp_path / "mnist-glow" / "card.toml").read_bytes() == card
