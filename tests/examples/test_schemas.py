"""JSON Schemas of card, run record and report are those of the types, and real documents fit them."""

from __future__ import annotations

import json
import runpy
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

import jsonschema
import numpy as np
import pytest
from PIL import Image

from sepcli.catalog import index
from sepcli.cli.app import run
from sepcli.cli.console import finite_or_null
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.report import Document, make_report
from sepcli.evaluation.score import TrackScore

SCHEMAS = Path(__file__).parents[2] / "examples" / "schemas"


def check(name: str, document: object) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)


def report() -> dict[str, Any]:
    values = [
        ("a", "ours", 1.0),
        ("b", "ours", float("nan")),
        ("a", "mean", 0.5),
        ("b", "mean", float("inf")),
    ]
    scores = [TrackScore(track, method, "drums", "sdr", value) for track, method, value in values]
    document = make_report(Protocol(("sdr",), "songs", ("drums",), "sum", 2), scores).as_dict()
    plain: dict[str, Any] = json.loads(json.dumps(finite_or_null(document)))
    return plain


def test_the_files_are_those_that_the_script_writes() -> None:
    program = runpy.run_path(str(SCHEMAS / "generate.py"))
    assert program["main"](["--check"]) == 0, "run examples/schemas/generate.py"


def test_a_report_fits() -> None:
    document = report()
    assert document["format"] == 1
    assert document.keys() <= get_type_hints(Document).keys()
    check("report", document)


@pytest.mark.parametrize("change", [{"format": "1"}, {"tracks": 3}, {"results": {"sdr": {"ours": 1}}}])
def test_another_report_does_not(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check("report", report() | change)


@pytest.mark.parametrize("name", index.names())
def test_bundled_cards_fit(name: str) -> None:
    check("card", tomllib.loads((index.BUNDLED / name / "card.toml").read_text(encoding="utf-8")))


@pytest.mark.parametrize("command", ["separate", "colorize"])
def test_records_fit(command: str, tiny_colors: Path, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)).save(tmp_path / "x.png")
    words = [
        "--prior",
        str(tiny_colors),
        "--set",
        "steps=2",
        "--samples",
        "2",
        "-q",
        "-o",
        str(tmp_path / "a"),
    ]
    assert run([command, str(tmp_path / "x.png"), *words]) == 0
    document = json.loads((tmp_path / "a" / "x" / "run.json").read_text(encoding="utf-8"))
    check("record", document)
    for change in ({"note": "mine"}, {"input_sha256": "0"}, {"versions": 3}):
        with pytest.raises(jsonschema.ValidationError):
            check("record", document | change)
