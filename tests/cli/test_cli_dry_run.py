"""``--dry-run`` says what would be done, and does nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from sepcli.cli.app import run
from sepcli.cli.dry_run import clock

RATE = 8000


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("in/deep").mkdir(parents=True)
    low = 0.3 * np.sin(np.arange(12000) / 9)
    for name, right in (("mono", low), ("deep/wide", low[::-1] * np.linspace(0, 1, 12000))):
        soundfile.write(f"in/{name}.wav", np.stack([low, right], 1), RATE)
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_nothing_is_done(here: Path, tiny_prior: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(here)
    words = ["separate", "in", "--prior", str(tiny_prior)]
    assert run([*words, "--dry-run"]) == 0
    assert files(here) == before
    mono, target, wide, _, total = capsys.readouterr().out.splitlines()
    assert wide == f"{Path('in/deep/wide.wav')}: audio of 0:02, tiny"
    assert mono == f"{Path('in/mono.wav')}: audio of 0:02, tiny"
    assert target == f"  → {Path('separated/mono')}: drums.wav, bass.wav, run.json"
    assert total.startswith("2 of 2 inputs would be done, audio in about 0:")
    assert run([*words, "--dry-run", "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_document_holds_outputs_durations_and_estimates(
    here: Path, tiny_prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["separate", "in", "--prior", str(tiny_prior), "--only", "bass", "--length", "1", "--json"]
    Path("in/text.wav").write_text("no audio")
    assert run([*words, "-q"]) == 3
    Path("separated/deep/wide/bass.wav").unlink()
    Path("separated/deep/wide/run.json").unlink()
    before = files(here)
    capsys.readouterr()
    assert run([*words, "--resume", "--dry-run"]) == 3
    assert files(here) == before
    document = json.loads(capsys.readouterr().out)
    (failed,) = document["failed"]
    assert "text.wav" in failed["input"]
    mono, wide = document["dry_run"]
    outputs = [str(Path("separated/deep/wide", name)) for name in ("bass.wav", "run.json")]
    assert (wide["skipped"], wide["outputs"], wide["duration"]) == (False, outputs, 1.0)
    assert (mono["skipped"], mono["estimated_seconds"]) == (True, None)
    assert (wide["medium"], wide["prior"]) == ("audio", "tiny")
    assert wide["estimated_seconds"] >= 0
    assert wide["estimated_memory"] is None or wide["estimated_memory"] > 5e7


def test_existing_files_and_missing_priors_are_said(
    here: Path, tiny_prior: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["separate", "in/mono.wav", "--prior", str(tiny_prior), "-q"]
    assert run(words) == 0
    assert run([*words, "--dry-run"]) == 1
    assert "exists already" in capsys.readouterr().err

    def connect(*args: object, **options: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr("socket.socket.connect", connect)
    assert run(["separate", "in", "--prior", "hf:nobody/nothing", "--dry-run"]) == 4


def test_images_have_no_estimate(tiny_images: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("a.png")
    assert run(["separate", "a.png", "--prior", str(tiny_images), "--dry-run"]) == 0
    first, outputs, total = capsys.readouterr().out.splitlines()
    assert first == f"a.png: image, {tiny_images.name}"
    assert "contact.png" in outputs
    assert total == "1 of 1 inputs would be done"
    assert not Path("separated").exists()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:01"), (59.6, "1:00"), (725, "12:05"), (3725, "1:02:05")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
