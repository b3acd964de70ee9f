"""What an earlier run left in the folder: its further draws, its settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from sepcli.catalog.card import sha256
from sepcli.cli.app import run

RATE = 4000


@pytest.fixture
def mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, RATE // 2)
    soundfile.write("mix.wav", sound, RATE, subtype="PCM_16")
    return "mix.wav"


def there(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def test_further_draws_of_an_earlier_run_go(
    tiny_prior: Path, mix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["separate", mix, "--prior", str(tiny_prior), "--overwrite", "--samples"]
    assert run([*command, "4"]) == 0
    Path("separated/mix/03/notes.txt").write_text("mine")
    Path("separated/mix/04/bass.wav").unlink()
    Path("separated/mix/04/bass.wav").symlink_to("../../../mix.wav")
    with Path("separated/mix/04/drums.wav").open("ab") as file:  # as if its owner had worked on it
        file.write(b"mine")
    capsys.readouterr()
    assert run([*command, "2"]) == 0
    draws = [f"{number}/{stem}.wav" for number in ("01", "02") for stem in ("bass", "drums")]
    kept = ["03/notes.txt", "04/bass.wav", "04/drums.wav"]
    assert there("separated/mix") == sorted([*draws, *kept, "run.json"])
    for line, stem in zip(capsys.readouterr().err.splitlines(), ("drums", "bass"), strict=True):
        assert str(Path("separated/mix/03", f"{stem}.wav")) in line
    assert Path(mix).is_file()
    assert run([*command, "1"]) == 0
    assert there("separated/mix") == sorted([*kept, "bass.wav", "drums.wav", "run.json"])
    assert not Path("separated/mix/01").exists()


def test_a_record_cannot_make_it_remove_other_files(tiny_prior: Path, mix: str) -> None:
    command = ["separate", mix, "--prior", str(tiny_prior), "--overwrite", "-q"]
    assert run(command) == 0
    Path("separated/mix.txt").write_text("beside")
    Path("separated/mix/sub").mkdir()
    Path("separated/mix/sub/other").write_text("of a link")
    Path("separated/mix/link").symlink_to("../..")
    record = Path("separated/mix/run.json")
    document = json.loads(record.read_text())
    outside = ["../../mix.wav", "../mix.txt", "sub/../../mix.txt", str(Path("separated/mix.txt").absolute())]
    for name in [*outside, "link/mix.wav", "link/separated/mix.txt", "sub", "sub/other", "\0.wav", ""]:
        path = Path("separated/mix", name)
        digest = sha256(path) if "\0" not in name and path.is_file() else "0" * 64
        record.write_text(json.dumps(document | {"outputs": document["outputs"] | {name: digest}}))
        assert run(command) == 0
    assert Path("mix.wav").is_file()
    assert Path("separated/mix.txt").is_file()
    assert Path("separated/mix/sub/other").is_file()


def test_what_no_run_writes_and_the_input_stay(
    tiny_prior: Path, mix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["separate", mix, "--prior", str(tiny_prior), "-o", ".", "--filename", "{stem}/{track}.{ext}"]
    assert run([*command, "-q"]) == 0
    Path("letter.txt").write_text("mine")
    Path("old.wav").write_bytes(b"old")
    Path("new.wav").write_bytes(b"changed since")
    record = Path("mix.run.json")
    document = json.loads(record.read_text())
    hashes = {name: sha256(Path(name)) for name in ("letter.txt", mix, str(record), "old.wav")}
    hashes |= dict.fromkeys(("\ud800.wav", 5000 * "x" + ".wav", "new.wav"), "0" * 64)
    record.write_text(json.dumps(document | {"outputs": document["outputs"] | hashes}))
    assert run([*command, "--overwrite"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "old.wav" in line
    assert there(".") == ["bass/mix.wav", "drums/mix.wav", "letter.txt", "mix.run.json", mix, "new.wav"]


@pytest.mark.parametrize("damage", ["[]", "{", '{"stems": 3}', 100_000 * "["])
def test_another_programs_record_is_only_replaced(tiny_prior: Path, mix: str, damage: str) -> None:
    command = ["separate", mix, "--prior", str(tiny_prior), "-q"]
    assert run(command) == 0
    Path("separated/mix/run.json").write_text(damage)
    assert run([*command, "--overwrite"]) == 0
    assert json.loads(Path("separated/mix/run.json").read_text())["seed"] == 0


def test_what_another_prior_made_stays(tiny_prior: Path, mix: str) -> None:
    assert run(["separate", mix, "--method", "hpss", "--format", "flac", "-q"]) == 0
    assert run(["separate", mix, "--prior", str(tiny_prior), "--overwrite", "-q"]) == 0
    assert there("separated/mix") == ["bass.flac", "bass.wav", "drums.flac", "drums.wav", "run.json"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--seed", "1"], "seed"),
        (["--set", "lam=2"], "lam"),
        (["--set", "draws=2"], "samples"),
        (["--consistency", "none"], "consistency"),
        (["--sampler", "greedy"], "sampler"),
    ],
    ids=" ".join,
)
def test_resume_asks_for_the_same_options(
    words: list[str], named: str, tiny_prior: Path, mix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["separate", mix, "--prior", str(tiny_prior), "-q"]
    assert run(command) == 0
    before = Path("separated/mix/run.json").read_bytes()
    assert run([*command, "--resume", "--set", "batch=3"]) == 0  # that changes speed and memory only
    capsys.readouterr()
    assert run([*command, "--resume", *words]) == 1
    said, hint = capsys.readouterr().err.splitlines()
    assert named in said
    assert "--overwrite" in hint
    assert Path("separated/mix/run.json").read_bytes() == before
    assert run([*command, "--resume", "--overwrite", *words]) == 0
    assert Path("separated/mix/run.json").read_bytes() != before
    assert run([*command, "--resume", *words]) == 0


def test_images_likewise(tiny_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)).save("a.png")
    command = ["separate", "a.png", "--prior", str(tiny_images), "--set", "steps=2", "-q"]
    assert run([*command, "--samples", "3"]) == 0
    assert run([*command, "--samples", "3", "--resume"]) == 0
    assert run([*command, "--samples", "2", "--resume"]) == 1
    assert run([*command, "--samples", "2", "--overwrite"]) == 0
    assert not Path("separated/a/03").exists()
    assert {"mean/digit-1.png", "std/digit-1.png"} <= {*there("separated/a")}
    assert run([*command, "--overwrite"]) == 0
    assert not any("/" in name for name in there("separated/a"))
