"""Model cards and licences of the bundled priors are those of their cards."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

from sepcli.catalog import card as cards
from sepcli.catalog import index

ROOT = Path(__file__).parents[2]


def test_the_files_are_those_that_the_script_writes() -> None:
    program = ROOT / "examples" / "reproduce" / "model_cards.py"
    assert runpy.run_path(str(program))["main"](["--check"]) == 0, "run examples/reproduce/model_cards.py"


@pytest.mark.parametrize("name", index.names())
def test_a_bundled_prior_states_licences_and_limits(name: str) -> None:
    card = cards.read(index.BUNDLED / name)
    _, head, body = (index.BUNDLED / name / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    entries = yaml.safe_load(head)
    assert (entries["license"], entries["library_name"]) == (card.licence.lower(), "sepcli")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert card.licence in project["license"].split(" AND ")
    if any(
        "SA" in entry.licence.split("-") for entry in card.datasets if entry.name.startswith("recordings")
    ):
        assert card.licence == "CC-BY-SA-3.0"
    for text in (*card.limits, *(entry.licence for entry in card.datasets), "## Results", "## Training"):
        assert text in body
    assert card.limits
    assert all(entry.licence for entry in card.datasets)


def test_the_package_states_the_licences_of_its_files() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "MIT AND BSD-3-Clause AND CC-BY-SA-3.0"
    listed = {path for pattern in project["license-files"] for path in ROOT.glob(pattern)}
    weights = {path.parent for path in (ROOT / "sepcli").rglob("*.safetensors")}
    for folder in weights:
        assert {parent / "LICENSE" for parent in (folder, *folder.parents)} & listed - {ROOT / "LICENSE"}, (
            folder
        )
