"""The README: its size, its commands, its Python, its table."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from released_vqgan import save_released, whole
from typer.main import get_command

import sepcli
from sepcli.cli.app import app, run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.removeprefix(".venv/bin/") for block in re.findall(r"```sh\n(.*?)```", README, re.S)
    for line in block.splitlines() if line.startswith(("sepcli ", ".venv/bin/sepcli "))
]  # fmt: skip
(PYTHON,) = re.findall(r"```python\n(.*?)```", README, re.S)
PRIOR = "".join(
    line for line in PYTHON.splitlines(keepends=True) if line.startswith(("import sepcli", "own ="))
)
"""``prior.py`` of the recipes."""
SMALLER = {
    "--jobs 8": "--jobs 1",
    "last.ckpt": "last.ckpt --size 16 --heads 2",
    "--time-budget 1h": "--steps 1 --batch 2 --preset tiny --time-budget 1h",
    "evaluate --metric sdr": "evaluate --metric sdr --pairs 1 --method hpss",
    "separate song.mp3": "separate song.mp3 --set steps=2",
    "separate examples/song/mix.flac": "separate examples/song/mix.flac --set steps=2",
    "--prior cello": "--prior cello --set steps=2",
    "--out ours": "--out ours --set posterior_steps=1",
    "--samples 8": "--samples 2 --set steps=3",
    "--samples 4": "--samples 2 --set steps=3",
}
"""What makes recipes quick."""
NETWORK = "hf:"
"""Commands with this are parsed, but not run."""


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


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the inputs of the recipes, as the working directory."""
    monkeypatch.chdir(tmp_path)
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * 22050)
    for name in ("recordings", *(f"{folder}/song" for folder in ("ESTIMATES", "REFERENCES"))):
        Path(name).mkdir(parents=True)
    for name in ("song.mp3", "interview.mp3", "duet.wav", *(f"recordings/{n}.wav" for n in range(4))):
        soundfile.write(name, noise, 22050)
    for folder in ("ESTIMATES", "REFERENCES"):
        for stem in ("drums", "bass"):
            soundfile.write(f"{folder}/song/{stem}.wav", noise, 22050)
    shutil.copytree(ROOT / "examples" / "song", "examples/song")
    for name in ("digits.png", "pair.png"):
        shutil.copy(ROOT / "examples" / "digits" / "mix.png", name)
    for number in range(30):
        Path("sums").mkdir(exist_ok=True)
        shutil.copy("digits.png", f"sums/{number}.png")
    Image.open(ROOT / "examples" / "photo" / "cat.jpg").resize((40, 32)).save("photo.jpg")
    save_released(tmp_path / "last.ckpt", whole())
    Path("prior.py").write_text(PRIOR, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_its_commands_run(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In their order, with smaller inputs: later ones use the priors that earlier ones train."""
    for line in COMMANDS:
        if NETWORK in line:
            continue
        for text, smaller in SMALLER.items():
            line = line.replace(text, smaller)
        if "cello" in line:
            shutil.copytree("violin", "cello")
        assert run(shlex.split(line)[1:]) == 0, (line, capsys.readouterr().err)


def test_its_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two evaluations of the prior instead of several hundred."""
    monkeypatch.chdir(ROOT)
    known: dict[str, object] = {}
    load = 'sepcli.load("mnist", samples=2)'
    assert load in PYTHON
    quick = load.replace(")", ', settings={"steps": 2})')
    exec(PYTHON.replace(load, quick), known)
    for name in ("result", "same", "colors"):
        assert isinstance(known[name], sepcli.Result)
    assert known["result"]["digit-1"].shape == (28, 28)  # type: ignore[index]


def test_its_table_and_the_results_are_those_of_the_reports() -> None:
    program = ROOT / "examples" / "reproduce" / "tables.py"
    subprocess.run([sys.executable, str(program), "--check"], check=True)
