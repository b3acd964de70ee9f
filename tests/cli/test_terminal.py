"""The terminal: 80 columns, examples, completion, and a bar before anything that takes seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from sepcli.baselines import BASELINES
from sepcli.cli import app
from sepcli.datasets import DATASETS
from sepcli.metrics import selectable
from sepcli.priors import FAMILIES
from sepcli.samplers import SAMPLERS

Captured = pytest.CaptureFixture[str]
TRAINED = [name for name, row in FAMILIES.items() if row.training]
VIEWS = [
    ["fetch-priors", "--list"],
    ["samplers"],
    ["env"],
    *(["train-prior", "--family", name, "--list-options"] for name in TRAINED),
    *([*command, "--help"] for command in ([], *([name] for name in app.COMMANDS))),
]
COMPLETE = """
import json, os, sys
from contextlib import redirect_stdout
from io import StringIO
from sepcli.cli.app import run
found = []
for words in json.loads(sys.argv[1]):
    os.environ |= {
        "_SEPCLI_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["sepcli", *words]),
        "COMP_CWORD": str(len(words)),
    }
    with redirect_stdout(StringIO()) as text:
        try:
            run([])
        except SystemExit:
            pass
    found.append(text.getvalue().split())
print(json.dumps([found, sorted({"torch", "numpy"} & set(sys.modules))]))
"""
FIRST = """
import os, sys
class Terminal:
    encoding = "utf-8"
    def isatty(self):
        return True
    def flush(self):
        pass
    def write(self, text):
        os.write(1, b"late" if "torch" in sys.modules else b"early: " + text.encode())
        os._exit(0)
sys.stderr = Terminal()
from sepcli.cli.app import run
run(sys.argv[1:])
"""


@pytest.mark.parametrize("view", VIEWS, ids=" ".join)
def test_everything_fits_80_columns(
    view: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert app.run(view) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    if "--help" in view:
        examples = lines[lines.index("Examples:") + 1 :]
        assert len([line for line in examples if line.startswith("  sepcli")]) >= 2
        assert not any(line.endswith("...") for line in lines if "[" not in line)


def test_names_of_the_tables_are_completed() -> None:
    wanted = {
        ("separate", "x", "--prior", "slakh-d"): ["slakh-drums", "slakh-drums-bass"],
        ("separate", "x", "--sampler", ""): list(SAMPLERS),
        ("separate", "x", "--method", "hp"): [name for name in BASELINES if name.startswith("hp")],
        ("separate", "x", "--device", "c"): ["cpu", "cuda"],
        ("colorize", "x", "--prior", "ci"): ["cifar10", "cifar10-ddpm"],
        ("evaluate", "--metric", "sdr,si-"): [f"sdr,{n}" for n in selectable() if n.startswith("si-")],
        ("evaluate", "--dataset", ""): list(DATASETS),
        ("train-prior", "--family", ""): TRAINED,
        ("fetch-priors", "ch"): ["church-256"],
        ("samplers", "l"): ["langevin"],
    }
    done = subprocess.run(
        [sys.executable, "-c", COMPLETE, json.dumps(list(wanted))],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found, heavy = json.loads(done.stdout)
    assert dict(zip(wanted, found, strict=True)) == wanted
    assert heavy == []


@pytest.mark.parametrize(
    "command",
    [
        ["separate", "a.wav", "--prior", "slakh-drums-bass"],
        ["colorize", "a.png"],
        ["evaluate", "--pairs", "1"],
        ["train-prior", "--family", "denoiser", "--data", ".", "--out", "p"],
        ["build-likelihood", "--prior", "p", "--data", "."],
    ],
    ids=lambda words: words[0],
)
def test_a_terminal_sees_something_before_torch_is_loaded(command: list[str], tmp_path: Path) -> None:
    if command[0] != "colorize":
        soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    else:
        Image.new("L", (8, 8)).save(tmp_path / "a.png")
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", FIRST, *command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("early"), done.stdout
