"""``examples/reproduce/tables.py``: reports are taken in, and become rows and sections."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "reproduce"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script, for reports in another folder."""
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module("tables")
    monkeypatch.setattr(module, "HERE", tmp_path)
    return module


def report(**entries: Any) -> dict[str, Any]:
    summary = {"mean": 12.3456, "median": 12.0, "ci95": [11.0, 13.5], "n": 7}
    settings = {"files": {"denoiser/model.safetensors": "ab" * 32}, "device": "cpu", "settings": {"steps": 5}}
    return {
        "protocol": {"dataset": "digits", "mixture": "a + b", "settings": settings},
        "results": {"psnr": {"sepcli": {"first": summary}, "average": {"first": {**summary, "mean": 3.0}}}},
        "cost": {"evaluations": 5, "seconds_per_pair": 0.25},
        "tracks": [{"track": "0", "value": 1.0}],
        "seeds": {"0": 1},
        **entries,
    }


def test_a_report_is_a_row_and_a_section(program: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mnist-halving.json").write_text(json.dumps(report()))
    program.add(tmp_path / "mnist-halving.json")
    kept = program.read("mnist-halving")
    assert not {"tracks", "seeds"} & set(kept)
    assert len(kept["measured"]["date"].split("-")) == 3
    assert {"sepcli", "torch", "python"} <= set(kept["measured"]["versions"])
    row = next(row for row in program.ROWS if row.report == "mnist-halving")
    assert program.cells(row)[2:] == (
        *("**12.35** dB [11.00, 13.50]", "3.00 dB", "7", "5 evaluations, 0.25 s"),
    )
    text = program.results()
    for part in (
        kept["measured"]["date"],
        "steps=5",
        "`abababababab` (not those",
        "| 12.35 [11.00, 13.50] |",
    ):
        assert part in text


def test_rows_without_a_report_are_left_out(program: ModuleType) -> None:
    assert program.cells(program.ROWS[0]) is None
    assert program.table(short=False).count("\n") == 1
    assert "## " not in program.results()


def test_the_margin_of_flows_is_the_least(program: ModuleType, tmp_path: Path) -> None:
    ends = [1.0, 2.0]
    margins = [{"margin": 9.0, "ci95": [8.0, 10.0]}, {"margin": 1.5, "ci95": ends}]
    document = {"metric": "cross-likelihood", "margins": margins, "n": 3, "unit": "nats per sample"}
    document |= {"priors": ["a"], "sources": ["a"], "mean": [[4.0]], "ci95": [[ends]], "sentence": "They do."}
    (tmp_path / "toy-waves-likelihood.json").write_text(json.dumps(document))
    program.add(tmp_path / "toy-waves-likelihood.json")
    row = next(row for row in program.ROWS if row.metric == "cross-likelihood")
    assert program.cells(row)[2] == "**1.5** nats per sample [1, 2]"
    assert "| a | 4 [1, 2] |" in program.results()


def test_damaged_inputs_and_killed_runs_are_counted(program: ModuleType, tmp_path: Path) -> None:
    each = [{"run": "fetch", "unlike": []}, {"run": "fetch", "unlike": ["a"]}, {"run": "train", "unlike": []}]
    kinds = {"audio": {"read": 3, "refused": 4, "failed": 1}, "card": {"read": 0, "refused": 5, "failed": 0}}
    document = {
        "seed": 7,
        "inputs": 1013,
        "seconds": 121.0,
        "slowest_input_seconds": 0.52,
        "failures": 1,
        "measured": {"date": "2026-01-02", "versions": {"sepcli": "0.1"}},
        "kinds": kinds,
    }
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "fuzz.json").write_text(json.dumps(document))
    document = {"seed": 7, "date": "2026-01-02", "killed": 3, "failures": 1, "each": each}
    (tmp_path / "results" / "kills.json").write_text(json.dumps(document))
    text = program.results()
    for part in (
        "1,013 damaged inputs in 2 minutes, seed 7",
        "| audio | 8 | 3 | 4 | 1 |",
        "3 runs killed",
        "| fetch | 2 | 1 |",
        "| train | 1 | 0 |",
    ):
        assert part in text


def test_samplers_of_other_packages_are_in_the_order_of_their_psnr(
    program: ModuleType, tmp_path: Path
) -> None:
    costs = {"evaluations": 64.0, "backwards": 128.0, "cpu_seconds": 1.234, "seconds": 2.0}
    rows = [
        {"package": package, "sampler": "S", "psnr": value, "ci95": [1.0, 2.0], **costs}
        | {"settings": {"eta": 1.0, "steps": 3}, "grid": grid}
        for package, value, grid in (("azula", 20.0, [{}, {}]), ("sepcli", 30.0, []))
    ]
    document = {
        "measured": {"date": "2026-01-02", "versions": {"azula": "1.2"}},
        "dataset": "digits",
        "grid_pairs": 5,
        "budget": 64,
        "threads": 1,
        "half": 14.0,
        "rows": rows,
        "comparison": {"sentence": "S is ahead."},
    }
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "posterior-samplers.json").write_text(json.dumps(document))
    text = program.results()
    first = "| sepcli: S | 30.00 [1.00, 2.00] | 64 | 128 | 1.23 | 2.00 | eta=1 steps=3 (1) |"
    second = "| azula: S | 20.00 [1.00, 2.00] | 64 | 128 | 1.23 | 2.00 | eta=1 steps=3 (2) |"
    assert f"{first}\n{second}" in text
    for part in ("- result: S is ahead.", "azula 1.2", "14.00 dB", "5 sums of training digits"):
        assert part in text


def test_closed_forms_have_a_row_per_posterior_and_sampler(program: ModuleType, tmp_path: Path) -> None:
    row = {"package": "azula", "sampler": "S", "mean": 0.0123, "std": 0.63, "trace": 0.864}
    row |= {"evaluations": 64.0, "backwards": 256.0, "share": -0.234}
    document = {
        "measured": {"date": "2026-01-02", "versions": {"azula": "1.2"}},
        "samples": 2048,
        "rows": [{"problem": name, **row} for name in ("correlated", "two components")],
    }
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "posterior-exactness.json").write_text(json.dumps(document))
    text = program.results()
    assert "| correlated | azula: S | 0.012 (0.63) | 0.86 | 64 | 256 | – |" in text
    assert "| two components | azula: S | 0.012 (0.63) | 0.86 | 64 | 256 | -0.234 |" in text
    assert "2,048 of each posterior" in text


def test_reports_on_posteriors_are_sections(program: ModuleType, tmp_path: Path) -> None:
    calibration = {
        "p_value": 0.3,
        "p_values": {"power": 0.06, "tarp": 0.001},
        "coverage": {"nominal": 0.8, "measured": 0.777},
        "error_over_spread": 1.04,
        "mixtures": 200,
        "samples": 9,
        "about": {"truths": "samples of the prior", "settings": {"steps": 48, "average": True}},
    }
    medians = {"reported": 21.04, "attained": 9.0, "excess": 12.0}
    recorded = {
        **calibration,
        "about": {"truths": "pairs", "settings": {"steps": 8, "eta": 1.0}},
        "standard_deviation": {"nominal": 0.9, "measured": 0.456},
        "confidence": {
            **{"seconds": 80, "median_db": medians, "rank_correlation": 0.456},
            "coverage": {"nominal": 0.9, "measured": 0.25},
        },
    }
    by_evidence = {"statistic": "evidence", "median_nats": {"explained": -2.0, "foreign": 0.51}}
    fit = {
        "prior": "songs",
        "explained": "songs",
        "foreign": "speech",
        "false_alarms": {"mixtures": 40, "flagged": 0.05},
        "foreign_source": {"mixtures": 30, "flagged": 0.7},
        "flagged_at_5_percent": 0.66,
        "median_db": {"explained": -12.0, "foreign": -8.5},
    }
    evidence = {key: value for key, value in fit.items() if key != "median_db"}
    draws = {
        "protocol": {"settings": {"sampler": "projected"}},
        "results": {"psnr": {"sepcli": {"average": {"mean": 23.456, "n": 24}}}},
    }
    row = {"prior": "mnist", "preset": "draws", "sampler": "projected", "evaluations": 48}
    row |= {"backward_passes": 96, "processor_seconds": 0.256, "clock_seconds": 1.5}
    seconds = {"repeats": 3, "rows": [row]}
    levy = {
        **{"mixtures": 2, "samples": 3, "sweeps": 2000, "denoiser_sweeps": 4},
        "rows": {"chain": {"mean_error": 0.1, "trace": 0.97, "coverage": 0.9}},
    }
    learned = {
        **{"x": 0, "y": 1, "count": 1500, "steps": 600, "preset": "tiny", "cpu_seconds": 500},
        "mixture_psnr": 14.0,
        "rows": {"round 1": {"denoising_rms": {"0.2": 0.1234}, "separation_psnr": 17.77}},
    }
    for name, document, cells in (
        ("calibration-mnist", calibration, "| power | tarp (0.001) | 77.7 % of 80 % | – | 1.04 |"),
        ("calibration-drums-bass-recorded", recorded, "| 8 levels, η = 1 | 0.3 |"),
        ("calibration-drums-bass-recorded", recorded, "| 77.7 % of 80 % | 45.6 % | 1.04 |"),
        (
            "calibration-drums-bass-recorded",
            recorded,
            "| 80 | 21.0 dB | 9.0 dB | 12.0 dB | 0.46 | 25 % of 90 % |",
        ),
        ("fit-songs", fit, "| 5 % of 40 | 70 % of 30 | 66 % | -12.0, -8.5 dB |"),
        ("fit-slakh-drums-bass-evidence", {**evidence, **by_evidence}, "| evidence | songs |"),
        (
            "fit-slakh-drums-bass-evidence",
            {**evidence, **by_evidence},
            "| 66 % | -2.000, 0.510 nats per value |",
        ),
        ("mnist-draws", draws, "| mnist | draws | projected | psnr | **23.46** dB | 24 |"),
        ("preset-cost", seconds, "| mnist | draws | projected | 48 | 96 | 0.26 s | 1.50 s |"),
        ("levy-posterior", levy, "| chain | – | 0.10 | 0.97 | 90 % |"),
        ("prior-from-mixtures", learned, "| round 1 | 0.123 | 17.77 |"),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
        program.add(tmp_path / f"{name}.json")
        assert cells in program.results()
