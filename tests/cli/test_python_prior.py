"""``--prior module.py:object``: a prior of one's own, from an explicit argument only."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from msgspec import structs
from PIL import Image

import sepcli
from sepcli.catalog import card as cards
from sepcli.cli.app import run
from sepcli.cli.python_prior import is_python, load_object, objects_of
from sepcli.errors import PriorError

MODULE = """
from dataclasses import dataclass
from pathlib import Path

Path(__file__).with_name("executed").touch()


@dataclass(frozen=True)
class White:
    variance: float

    def score(self, x, sigma):
        return -x / (self.variance + sigma**2)


white = White(0.1)
number = 3
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "a:b"
    folder.mkdir()
    (folder / "mine.py").write_text(MODULE)
    return folder / "mine.py"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("mine.py:prior", True),
        ("C:\\mine.py:prior", True),
        ("a:b/mine.py:prior", True),
        ("mine.py", False),
        ("mine:prior", False),
        ("hf:owner/name", False),
        ("hf:owner/name.py", False),
        ("mine.py:not an identifier", False),
    ],
)
def test_the_argument_is_split_at_its_last_colon(word: str, expected: bool) -> None:
    assert is_python(word) is expected


def test_an_object_of_a_file_is_loaded_once(module: Path) -> None:
    prior = load_object(f"{module}:white")
    assert prior.variance == 0.1  # type: ignore[attr-defined]
    module.with_name("executed").unlink()
    assert load_object(f"{module}:white") is prior
    assert not module.with_name("executed").exists()


@pytest.mark.parametrize("command", ["separate", "colorize"])
@pytest.mark.parametrize("ending", ["", ":", ":not an identifier"])
def test_a_file_without_an_object_is_not_executed(
    command: str, ending: str, module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "a.png", "--prior", f"{module}{ending}"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert f"{module}{ending}" in first
    assert "white" in second
    assert all(name not in second for name in ("number", "White", "executed"))
    assert not module.with_name("executed").exists()


@pytest.mark.parametrize("text", ["", "x = (", "x = 1", "(" * 10_000, "x = '\0'"])
def test_a_file_without_candidates(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "prior.py"
    path.write_text(text)
    assert objects_of(path) == []
    assert run(["separate", "a.png", "--prior", str(path)]) == 2
    assert f"{path}:" in capsys.readouterr().err.splitlines()[1]
    assert run(["separate", "a.png", "--prior", str(tmp_path / "gone.py")]) == 4
    assert "gone.py" in capsys.readouterr().err


def test_other_doors_name_those_that_take_objects(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--prior", f"{module}:white"]) == 4
    assert "`sepcli separate`" in capsys.readouterr().err
    with pytest.raises(PriorError) as error:
        sepcli.load(f"{module}:white")
    assert "sepcli.Separator" in error.value.hint
    assert not module.with_name("executed").exists()


def test_what_is_no_prior_is_refused(module: Path) -> None:
    module.with_name("broken.py").write_text("1 / 0")
    for word, subject in (
        (f"{module}:number", "number"),
        (f"{module}:gray", "gray"),
        (f"{module.with_name('gone.py')}:x", "gone.py"),
        (f"{module.with_name('broken.py')}:x", "ZeroDivisionError"),
    ):
        with pytest.raises(PriorError, match=subject):
            load_object(word)


def test_an_object_separates_images_and_colorizes(module: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(60, 190, (8, 9), np.uint8)).save(tmp_path / "mix.png")
    words = ["--set", "steps=3", "--set", "sigma_max=1", "--sampler", "projected", "-q"]
    prior = ["--prior", f"{module}:white"]
    first = ["separate", str(tmp_path / "mix.png"), "-o", str(tmp_path / "out"), *prior, *words]
    assert run([*first, "--sources", "3"]) == 0
    folder = tmp_path / "out" / "mix"
    record = json.loads((folder / "run.json").read_text())
    assert sorted(path.stem for path in folder.glob("white*")) == ["white-1", "white-2", "white-3"]
    assert (record["prior"], record["engine"], record["sampler"]) == ("mine.py:white", "score", "projected")
    assert record["files"] == {"mine.py": hashlib.sha256(MODULE.encode()).hexdigest()}
    assert record["weights"] == pytest.approx([1 / 3] * 3)
    colors = ["colorize", str(tmp_path / "mix.png"), "-o", str(tmp_path / "c"), *prior, *words]
    assert run(colors) == 0
    assert (tmp_path / "c" / "mix" / "colorized.png").is_file()


def test_an_object_with_a_rate_separates_audio(module: Path, tmp_path: Path) -> None:
    with module.open("a") as file:
        file.write("\n\nclass Loud(White):\n    sample_rate = 8000\n\n\nloud, soft = Loud(0.2), Loud(0.1)\n")
    sound = np.random.default_rng(0).normal(0, 0.1, 8000).clip(-1, 1)
    soundfile.write(tmp_path / "mix.wav", sound, 8000, subtype="PCM_16")
    words = ["--set", "steps=3", "--set", "sigma_max=1", "--set", "window=0.5", "--set", "overlap=0.1"]
    words += ["--sampler", "projected", "-o", str(tmp_path / "out"), "-q"]
    priors = ["--prior", f"{module}:loud", "--prior", f"{module}:soft"]
    assert run(["separate", str(tmp_path / "mix.wav"), *priors, *words]) == 0
    stems = [
        soundfile.read(tmp_path / "out" / "mix" / f"{name}.wav", dtype="int16")[0].astype(int)
        for name in ("loud", "soft")
    ]
    assert np.array_equal(sum(stems), soundfile.read(tmp_path / "mix.wav", dtype="int16")[0])
    assert np.square(stems[0]).sum() > np.square(stems[1]).sum()


def test_a_card_that_names_an_object_executes_nothing(
    module: Path, tiny_prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(tiny_prior, tmp_path / "prior")
    shutil.copy(module, folder / "mine.py")
    card = cards.read(folder)
    cards.write(structs.replace(card, priors=("mine.py:white",) * len(card.sources)), folder)
    sound = np.random.default_rng(0).normal(0, 0.1, 8000).clip(-1, 1)
    soundfile.write(tmp_path / "mix.wav", sound, 8000)
    for more in ([], ["--method", "score"], ["--other"]):
        words = ["separate", str(tmp_path / "mix.wav"), "--prior", str(folder), *more]
        run([*words, "-o", str(tmp_path / "out"), "-q", "--overwrite"])
        assert not list(tmp_path.rglob("executed"))
