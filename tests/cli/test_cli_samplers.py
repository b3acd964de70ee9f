"""``sepcli samplers``: every sampler with every setting, from the tables."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

import sepcli
from sepcli.cli.app import run
from sepcli.samplers import SAMPLERS
from sepcli.separation.engines import LANGEVIN_PRESETS
from sepcli.separation.likelihood import DiracSettings
from sepcli.separation.presets import PRESETS
from sepcli.separation.settings import StreamSettings

Captured = pytest.CaptureFixture[str]


def test_all_samplers_fit_80_columns(capsys: Captured) -> None:
    assert run(["samplers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line.partition(":")[0] for line in lines if line and not line.startswith(" ")]
    assert heads[:-1] == [*SAMPLERS, "windows", "presets"]
    assert all(any(line.startswith(f"  {name}:") for line in lines) for name in PRESETS)
    assert "--prior" in lines[-1]
    for name in (
        "steps",
        "overlap",
        "draws",
        "churn",
        "endings",
        "preset",
        "sigma_y",
        "width",
        "shortlist",
        "top_k",
    ):
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
        "meaning": "Number of noise levels.",
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


def rows_of(capsys: Captured, *words: str) -> list[dict[str, Any]]:
    assert run(["samplers", *words, "--json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["samplers"]
    return rows


@pytest.mark.parametrize(
    ("priors", "commands", "sampler"),
    [
        (("mnist",), ["separate", "separate --samples 2"], "halving"),
        (("cifar10",), ["separate", "colorize"], "projected"),
        (("slakh-drums",), ["separate"], "projected"),
        (("slakh-drums", "slakh-bass"), ["separate"], "projected"),
        (("mnist-lass",), ["separate"], "ancestral"),
    ],
    ids=str,
)
def test_a_prior_shows_what_runs(
    priors: tuple[str, ...], commands: list[str], sampler: str, capsys: Captured
) -> None:
    rows = rows_of(capsys, *(word for prior in priors for word in ("--prior", prior)))
    assert [row["command"] for row in rows] == commands
    for row in rows:
        how: dict[str, object] = (
            {"colorize": True} if row["command"] == "colorize" else {"other": priors == ("slakh-drums",)}
        )
        several = row["command"].endswith("--samples 2")
        how |= {"preset": "draws"} if several else {}
        described = sepcli.load(priors if len(priors) > 1 else priors[0], **how).describe()  # type: ignore[arg-type]
        assert (row["name"], row["engine"]) == ("projected" if several else sampler, described["engine"])
        used = {setting["name"]: setting["default"] for setting in row["settings"]}
        assert used == {name: text(value) for name, value in described["settings"].items()}
        windows = {setting["name"]: setting["default"] for setting in row["windows"]}
        assert len(windows) == (len(fields(StreamSettings)) - 1 if "slakh" in priors[0] else 0)
        assert all(windows[name] == text(described["stream"][name]) for name in windows.keys() - {"draws"})


def text(value: Any) -> str:
    return "none" if value is None else str(int(value) if isinstance(value, bool) else value)


def test_values_that_differ_from_the_general_ones_show_both(capsys: Captured) -> None:
    assert run(["samplers", "--prior", "mnist"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "  candidates  (integer ≥ 1, ≤ 10,000, default 16, in general 4)" in lines
    assert "  sigma_min  (number > 0, ≤ 1,000,000, default 0.02)" in lines
    (projected,) = rows_of(capsys, "projected", "--prior", "mnist")
    assert all(row["default"] == row["general"] for row in projected["settings"])
    assert run(["samplers", "--prior", "mnist", "--table", "csv"]) == 0
    assert "halving,endings" in capsys.readouterr().out
    assert run(["samplers", "beam", "--prior", "mnist"]) == 2
    assert run(["samplers", "--prior", "nobody"]) == 4
