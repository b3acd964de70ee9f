"""``sepcli samplers``: every sampler with every setting, from the tables."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from sepcli.cli.app import run
from sepcli.samplers import SAMPLERS
from sepcli.separation.engines import LANGEVIN_PRESETS, DiracSettings

Captured = pytest.CaptureFixture[str]


def test_all_samplers_fit_80_columns(capsys: Captured) -> None:
    assert run(["samplers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line.partition(":")[0] for line in lines if line and not line.startswith(" ")]
    assert heads == list(SAMPLERS)
    for name in ("steps", "churn", "endings", "preset", "sigma_y", "width", "shortlist", "top_k"):
        assert any(line.startswith(f"  {name}  (") for line in lines), name
    assert not any("Raises:" in line for line in lines)
    assert lines.count("      σ_y, the standard deviation of the mixture's noise.") == 1


def test_a_row_states_type_range_default_and_meaning(capsys: Captured) -> None:
    assert run(["samplers", "projected", "langevin", "--json"]) == 0
    projected, langevin = json.loads(capsys.readouterr().out)["samplers"]
    assert projected["settings"][0] == {
        "name": "steps",
        "type": "integer ≥ 1, ≤ 100,000",
        "default": "50",
        "meaning": "Number of noise levels, one evaluation each.",
    }
    (eta,) = (row["type"] for row in projected["settings"] if row["name"] == "eta")
    assert eta == "number ≥ 0, ≤ 1 | ancestral"
    assert [row["name"] for row in projected["posterior_settings"]] == [f.name for f in fields(DiracSettings)]
    assert langevin["posterior"] == "gaussian"
    (preset,) = (row for row in langevin["settings"] if row["name"] == "preset")
    assert preset["type"].split(" | ") == list(LANGEVIN_PRESETS)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_setting_is_explained(name: str, capsys: Captured) -> None:
    assert run(["samplers", name, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["samplers"]
    own = {field.name for field in fields(SAMPLERS[name].load())}
    assert own <= {setting["name"] for setting in row["settings"]}
    assert all(setting["meaning"] for setting in (*row["settings"], *row["posterior_settings"]))


def test_another_name_is_a_usage_error(capsys: Captured) -> None:
    assert run(["samplers", "langevn"]) == 2
    assert "langevin" in capsys.readouterr().err
