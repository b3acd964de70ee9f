"""The script that measures what storage costs: differences by item, and figures in cards."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from example_scripts import EXAMPLES

from sepcli.catalog import card as cards

SCRIPT = EXAMPLES / "reproduce" / "storage.py"


def report(values: dict[str, list[float]]) -> dict[str, Any]:
    """What is compared of a report: values of both stems by track."""
    return {
        "tracks": [
            {"method": method, "metric": "psnr", "track": track, "stem": stem, "value": value}
            for track, both in values.items()
            for method, offset in (("sepcli", 0.0), ("average", 50.0))
            for stem, value in zip(("first", "second"), (x + offset for x in both), strict=True)
        ]
    }


def call(*words: object) -> None:
    subprocess.run([sys.executable, str(SCRIPT), *map(str, words)], check=True)


def test_differences_are_written_into_the_card(tmp_path: Path, tiny_images: Path) -> None:
    before = {"a": [10.0, 12.0], "b": [20.0, 20.0], "only before": [0.0, 0.0]}
    after = {"a": [10.5, 12.5], "b": [19.0, 20.0]}
    tokens = {"mnist-lass": {"x": 1.0}, "slakh-drums-bass": {"x": 2.0}}
    for folder, values, factor in (("before", before, 1.0), ("after", after, 1.5)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mnist.json").write_text(json.dumps(report(values)))
        cross = {"mean": [[factor, 9.0], [9.0, 3 * factor]]}
        (tmp_path / folder / "toys-cross.json").write_text(json.dumps(cross))
        (tmp_path / folder / "tokens.json").write_text(json.dumps(tokens))
    call("compare", tmp_path / "before", tmp_path / "after", "--out", tmp_path / "storage.json")
    found = json.loads((tmp_path / "storage.json").read_text())
    assert found.keys() == {"mnist", "toy-flows", "mnist-lass", "slakh-drums-bass"}
    row = found["mnist"]["mnist, psnr in dB"]
    assert (row["before"], row["after"], row["change"], row["items"]) == (15.5, 15.5, 0.0, 2)
    assert row["ci95"] == [-0.5, 0.5]
    assert found["toy-flows"]["toys-cross, nats per sample"] == {"before": 2.0, "after": 3.0, "change": 1.0}
    assert found["slakh-drums-bass"]["x"]["change"] == 0.0
    shutil.copytree(tiny_images, tmp_path / "bundled" / "mnist")
    (tmp_path / "one.json").write_text(json.dumps({name: found[name] for name in ("mnist", "toy-flows")}))
    call("cards", tmp_path / "one.json", tmp_path / "bundled")
    figures = cards.read(tmp_path / "bundled" / "mnist").figures["storage"]
    assert figures["mnist, psnr in dB"] == "15.5 (before 15.5, change +0 [-0.5, 0.5], 2 items)"
