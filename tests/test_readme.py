"""The README: its size, its commands, its Python, its table."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.main import get_command

from sepcli.cli.app import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()
    if line.startswith("sepcli ")
]  # fmt: skip


def test_it_is_short() -> None:
    assert len(README.encode()) <= 9 * 1024


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_exist(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    context = command.make_context(name, arguments)
    assert context.params


def test_its_links_exist() -> None:
    for path in re.findall(r"`((?:examples|sepcli)/[\w./-]+)`|\((examples/[\w./-]+)\)", README):
        assert (ROOT / (path[0] or path[1])).exists(), path


@pytest.mark.slow
def test_its_python_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return (0.05 * x + sigma**2 * 0.3) / (0.05 + sigma**2)

    mixture = np.random.default_rng(0).random((28, 28))
    known = {"mixture": mixture, "denoise": denoise, "folder": Path(__file__).parent / "data" / "digits"}
    exec(code, known)
    assert known["result"]["digit-1"].shape == (28, 28)  # type: ignore[index]
    assert known["x"].shape == (4, 1, 28, 28)  # type: ignore[union-attr]
    assert "psnr" in known["report"].results  # type: ignore[union-attr]


def test_its_table_is_that_of_the_reports() -> None:
    program = ROOT / "examples" / "reproduce" / "tables.py"
    subprocess.run([sys.executable, str(program), "--check"], check=True)
